# What happens to an instance before it is gone: the document that drains it.

locals {
  endpoint_pattern = "^http://[A-Za-z0-9.-]+:[0-9]{1,5}$"
}

resource "aws_ssm_document" "drain" {
  name            = "${var.environment}-drain"
  document_type   = "Command"
  document_format = "JSON"
  target_type     = "/AWS::EC2::Instance"

  content = jsonencode({
    schemaVersion = "2.2"
    description   = "Stop units, flush Fluentd's buffers and show that they are empty."

    # No value that matches these patterns can end the quotes it is put in below.
    parameters = {
      StopUnits = {
        type           = "String"
        description    = "systemd units to stop first, in this order, separated by spaces"
        default        = ""
        allowedPattern = "^([A-Za-z0-9:_.@][A-Za-z0-9:_.@-]*( [A-Za-z0-9:_.@][A-Za-z0-9:_.@-]*)*)?$"
      }
      TimeoutSeconds = {
        type           = "String"
        description    = "Seconds until the script gives up"
        default        = "300"
        allowedPattern = "^[1-9][0-9]{0,4}$"
      }
      RpcEndpoint = {
        type           = "String"
        description    = "Fluentd's RPC endpoint"
        default        = var.rpc_endpoint
        allowedPattern = local.endpoint_pattern
      }
      MonitorEndpoint = {
        type           = "String"
        description    = "Fluentd's monitor agent"
        default        = var.monitor_endpoint
        allowedPattern = local.endpoint_pattern
      }
      PosFiles = {
        type           = "String"
        description    = "Shell patterns of Fluentd's position files, separated by spaces; empty where nothing is tailed"
        default        = var.position_files
        allowedPattern = "^(/[A-Za-z0-9_./*?-]*( /[A-Za-z0-9_./*?-]*)*)?$"
      }
    }

    mainSteps = [{
      action = "aws:runShellScript"
      name   = "drain"
      precondition = {
        StringEquals = ["platformType", "Linux"]
      }
      inputs = {
        # The script keeps its own time; this is the longest a lifecycle action can last.
        timeoutSeconds = "172800"
        runCommand = concat(
          [
            "STOP_UNITS='{{ StopUnits }}'",
            "TIMEOUT_SECONDS='{{ TimeoutSeconds }}'",
            "RPC_ENDPOINT='{{ RpcEndpoint }}'",
            "MONITOR_ENDPOINT='{{ MonitorEndpoint }}'",
            "POS_FILES='{{ PosFiles }}'",
          ],
          split("\n", trimspace(file("${path.module}/drain.sh"))),
        )
      }
    }]
  })
}
