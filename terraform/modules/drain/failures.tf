# Who is told that an instance could not be drained: people subscribe. Deployments publish, by their own permission
# (modules/iam); the topic's default policy leaves that to the account.

resource "aws_sns_topic" "failures" {
  name = "${var.environment}-drain-failures"
}
