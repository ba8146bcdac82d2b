# Empties this host's logs before it is terminated: stops what writes them, waits until Fluentd has read them to
# their end, flushes its buffers, and shows that nothing is left. POSIX shell, curl, awk: no more is certain to be
# on a host that runs Fluentd.
#
# The SSM document sets, in lines before this text:
#   STOP_UNITS        systemd units to stop first, in this order, separated by spaces
#   TIMEOUT_SECONDS   seconds until it gives up
#   RPC_ENDPOINT      Fluentd's RPC endpoint      (https://docs.fluentd.org/deployment/rpc)
#   MONITOR_ENDPOINT  Fluentd's monitor agent     (https://docs.fluentd.org/input/monitor_agent)
#   POS_FILES         shell patterns of the tail inputs' position files, separated by spaces; empty for none
#
# The last line of its output is the receipt, as JSON; null stands for what could not be measured. Exit status:
#   0 nothing is left   1 something is left   2 a parameter is wrong   3 a unit did not stop   4 no answer of Fluentd

set -eu
set -f # patterns are expanded in one place only

TAB=$(printf '\t')
POLL_SECONDS=1
CALL_SECONDS=10
POS_FILE_SECONDS=10 # a Fluentd that just started has no position file yet
UNWATCHED=ffffffffffffffff # Fluentd's mark in a position file for what it no longer follows

started=$(date +%s)
deadline=0
queue_length_before=null bytes_before=null records_before=null
queue_length_after=null bytes_after=null records_after=null
unread_bytes=null
flushed=no
problem=

finish() { # exit status, reason
  printf '{"bakeroll_receipt": {"queue_length_before": %s, "bytes_before": %s, "records_before": %s, ' \
    "$queue_length_before" "$bytes_before" "$records_before"
  printf '"queue_length_after": %s, "bytes_after": %s, "records_after": %s, ' \
    "$queue_length_after" "$bytes_after" "$records_after"
  printf '"unread_bytes": %s, "duration_seconds": %s}}\n' "$unread_bytes" "$(($(date +%s) - started))"
  if [ "$1" -ne 0 ]; then
    printf '%s\n' "$(printf %s "$2" | tr '\n' ' ')" >&2
  fi
  exit "$1"
}

seconds_left() {
  left=$((deadline - $(date +%s)))
  [ "$left" -gt 0 ] || left=0
  echo "$left"
}

stop_units() {
  for unit in $STOP_UNITS; do
    left=$(seconds_left)
    [ "$left" -gt 0 ] || finish 3 "unit $unit was not stopped: no time was left"
    status=0
    message=$(timeout "$left" systemctl stop "$unit" 2>&1) || status=$?
    [ "$status" -ne 124 ] || finish 3 "unit $unit did not stop within $left seconds"
    [ "$status" -eq 0 ] || finish 3 "unit $unit could not be stopped (status $status): $message"
  done
}

# Adds what is unread of one followed file to unread_bytes.
add_unread() { # position file, path, position, inode (both hexadecimal)
  case "$3$4" in
    *[!0-9a-fA-F]* | '')
      unread_bytes=$((unread_bytes + 1)) # half written: look again
      return ;;
  esac
  position=$((0x$3)) inode=$((0x$4))
  now=$(stat -L -c '%i %s' "$2" 2>/dev/null) || now=
  if [ "${now% *}" = "$inode" ]; then
    add_behind "$position" "${now#* }"
    return
  fi
  # The file was rotated: Fluentd still reads the one it has open, under its new name, and then the new one.
  size=$(find "$(dirname "$2")" -maxdepth 1 -inum "$inode" -exec stat -c %s {} \; 2>/dev/null | head -n 1)
  [ -z "$size" ] || add_behind "$position" "$size"
  if [ -n "$now" ] && ! is_followed "$1" "$2" "$(printf %016x "${now% *}")"; then
    unread_bytes=$((unread_bytes + ${now#* }))
  fi
}

add_behind() { # position, size; a file shorter than the position was truncated and is read again from its start
  if [ "$1" -le "$2" ]; then
    unread_bytes=$((unread_bytes + $2 - $1))
  else
    unread_bytes=$((unread_bytes + $2))
  fi
}

is_followed() { # position file, path, inode
  WANTED_PATH=$2 WANTED_INODE=$3 UNWATCHED=$UNWATCHED awk -F '\t' '
    $1 == ENVIRON["WANTED_PATH"] && $2 != ENVIRON["UNWATCHED"] && tolower($3) == ENVIRON["WANTED_INODE"] { found = 1 }
    END { exit !found }
  ' "$1"
}

measure_unread() {
  unread_bytes=0
  [ -n "$POS_FILES" ] || return 0
  set +f
  # shellcheck disable=SC2086  # patterns are meant to be expanded here
  set -- $POS_FILES
  set -f
  found=no
  for position_file in "$@"; do
    [ -e "$position_file" ] || continue
    found=yes
    while IFS="$TAB" read -r path position inode || [ -n "$path" ]; do
      [ "$position" = "$UNWATCHED" ] || add_unread "$position_file" "$path" "$position" "$inode"
    done <"$position_file"
  done
  [ "$found" = yes ] || unread_bytes=null
}

call() { # address; the answer is left in $answer
  answer=$(curl -fsS --noproxy '*' --max-time "$CALL_SECONDS" "$1" 2>&1) || {
    problem="$1 does not answer: $answer"
    return 1
  }
}

measure_buffers() {
  queue_length_after=null bytes_after=null records_after=null
  call "$MONITOR_ENDPOINT/api/plugins.json" || return 1
  case $answer in
    *'"plugins"'*) ;;
    *)
      problem="$MONITOR_ENDPOINT/api/plugins.json does not answer as Fluentd's monitor agent does"
      return 1 ;;
  esac
  queue_length_after=$(sum_of buffer_queue_length)
  bytes_after=$(sum_of buffer_total_queued_size)
  records_after=$(records_of_outputs)
}

# Only outputs have these keys; an output without a buffer has none or null.
sum_of() { # key
  printf '%s' "$answer" | tr -d ' \t\r\n' | grep -o "\"$1\":[0-9]*" |
    awk -F : '{ sum += $2 } END { printf "%.0f", sum }'
}

# Log records that outputs took in since Fluentd was started. Inputs have such a number too, in newer versions only:
# what it counts is told by the category, which comes before it.
records_of_outputs() {
  printf '%s' "$answer" | tr -d ' \t\r\n' | grep -oE '"plugin_category":"[a-z]+"|"emit_records":[0-9]+' |
    awk -F : '
      $1 == "\"plugin_category\"" { output = ($2 == "\"output\"") }
      $1 == "\"emit_records\"" && output { sum += $2; found = 1 }
      END { if (found) printf "%.0f", sum; else printf "null" }
    '
}

flush() {
  call "$RPC_ENDPOINT/api/plugins.flushBuffers" || return 1
  case $answer in
    *'"ok"'*true*) flushed=yes ;;
    *)
      problem="Fluentd refused to flush: $answer"
      return 1 ;;
  esac
}

wait_for_readers() {
  while measure_unread && [ "$unread_bytes" != 0 ]; do
    left=$(seconds_left)
    if [ "$unread_bytes" = null ]; then
      [ "$left" -gt 0 ] && [ "$(date +%s)" -lt $((started + POS_FILE_SECONDS)) ] ||
        finish 2 "no position file matches '$POS_FILES': correct PosFiles, or empty it where Fluentd tails nothing"
    fi
    [ "$left" -gt 0 ] || finish 1 "$unread_bytes bytes of tailed files are still unread"
    sleep "$POLL_SECONDS"
  done
}

wait_for_first_measure() {
  until measure_buffers; do
    [ "$(seconds_left)" -gt 0 ] || finish 4 "$problem"
    sleep "$POLL_SECONDS"
  done
  queue_length_before=$queue_length_after bytes_before=$bytes_after records_before=$records_after
}

is_empty() {
  [ "$flushed" = yes ] && [ "$unread_bytes" = 0 ] && [ "$queue_length_after" = 0 ] && [ "$bytes_after" = 0 ]
}

# Flushes again each time: what was read or staged meanwhile is not part of an earlier flush.
flush_until_empty() {
  while :; do
    problem=
    measure_unread
    if flush && measure_buffers && is_empty; then
      return 0
    fi
    if [ "$(seconds_left)" -eq 0 ]; then
      [ -z "$problem" ] || finish 4 "$problem"
      finish 1 "Fluentd still holds $bytes_after bytes in $queue_length_after queued chunks, $unread_bytes bytes are unread"
    fi
    sleep "$POLL_SECONDS"
  done
}

case ${TIMEOUT_SECONDS:-} in
  '' | *[!0-9]*) finish 2 "TIMEOUT_SECONDS must be a number of seconds" ;;
esac
deadline=$((started + TIMEOUT_SECONDS))
stop_units
wait_for_readers
wait_for_first_measure
flush_until_empty
finish 0
