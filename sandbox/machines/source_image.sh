# Runs once inside a fresh debootstrap, as root, and makes of it what Debian's cloud images are:
# a user "admin" with sudo, an SSH server, and systemctl.

# systemctl and the first process, kept if a package brings systemd's own.
chmod 755 /usr/lib/sandbox/systemctl
for path in /usr/bin/systemctl /usr/bin/journalctl /lib/systemd/systemd; do
    dpkg-divert --quiet --local --rename --divert "$path.systemd" --add "$path"
done
ln -s ../lib/sandbox/systemctl /usr/bin/systemctl
ln -s ../sandbox/systemctl /usr/lib/systemd/systemd
cat > /usr/bin/journalctl <<'SCRIPT'
#!/bin/sh
# Shows a unit's log: journalctl -u UNIT [-n LINES]. Everything else is left to the real one.
unit= lines=
while [ $# -gt 0 ]; do
    case $1 in
        -u|--unit) unit=$2; shift ;;
        --unit=*) unit=${1#--unit=} ;;
        -n|--lines) lines=$2; shift ;;
        --lines=*) lines=${1#--lines=} ;;
        --no-pager|-q|--quiet|-x|-e) ;;
        *) echo "journalctl: $1 is not supported here" >&2; exit 1 ;;
    esac
    shift
done
[ -n "$unit" ] || { echo "journalctl: name a unit with -u" >&2; exit 1; }
exec systemctl log --no-pager ${lines:+-n "$lines"} "$unit"
SCRIPT
chmod 755 /usr/bin/journalctl
python3 -m compileall -q /usr/lib/sandbox
mkdir -p /var/log/journal

# Packages do not start their services when they are installed: machines share one network.
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d

# Translations of package descriptions are half of what apt-get update would fetch.
printf 'Acquire::Languages "none";\n' > /etc/apt/apt.conf.d/90no-translations
printf 'LANG=C.UTF-8\n' > /etc/default/locale

# What cloud-init does on Debian's images, as far as it is the same for every machine.
useradd --create-home --shell /bin/bash --groups adm,sudo admin
printf 'admin ALL=(ALL) NOPASSWD:ALL\n' > /etc/sudoers.d/90-cloud-init-users
chmod 440 /etc/sudoers.d/90-cloud-init-users

# Address, host keys and authorized keys belong to one machine: they are in /run, which no image keeps.
# ssh-rsa signatures are what old SSH clients such as Packer 1.6's know for RSA keys.
cat > /etc/ssh/sshd_config.d/10-machine.conf <<'CONFIG'
Include /run/sandbox/sshd_config
AuthorizedKeysFile .ssh/authorized_keys /run/sandbox/authorized_keys/%u
PubkeyAcceptedAlgorithms +ssh-rsa
HostKeyAlgorithms +ssh-rsa
UseDNS no
CONFIG

# The systemctl replacement waits 4 s after a READY=1 for a MAINPID, which sshd never sends. It takes the
# first value of a setting, so a drop-in cannot change the type.
sed 's/^Type=notify/Type=simple/' /lib/systemd/system/ssh.service > /etc/systemd/system/ssh.service

# Stands in for the SSM agent, which many AMIs ship. It does nothing: the hypervisor runs the commands, but
# only while this unit holds its lock, which the kernel lets go of with the process, however that ends.
cat > /lib/systemd/system/amazon-ssm-agent.service <<'UNIT'
[Unit]
Description=amazon-ssm-agent (stand-in)

[Service]
ExecStart=/usr/bin/flock --no-fork /run/amazon-ssm-agent.lock /bin/sleep infinity
Restart=always

[Install]
WantedBy=multi-user.target
UNIT
mkdir -p /etc/systemd/system/multi-user.target.wants
ln -s /lib/systemd/system/amazon-ssm-agent.service /etc/systemd/system/multi-user.target.wants/

update-ca-certificates
apt-get clean
rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_* /etc/machine-id /var/lib/dbus/machine-id \
    /var/log/bootstrap.log /var/log/dpkg.log /var/log/apt/* /var/cache/ldconfig/aux-cache
printf '127.0.0.1 localhost\n' > /etc/hosts
printf 'localhost\n' > /etc/hostname
: > /etc/resolv.conf
: > /etc/machine-id
