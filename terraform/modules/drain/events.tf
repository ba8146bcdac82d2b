# Who is told that an instance waits to be drained. Delivery is best effort: a wake-up call, not a record.

resource "aws_cloudwatch_event_rule" "terminations" {
  name        = "${var.environment}-terminations"
  description = "Instances of ${var.environment} that wait to be drained"

  event_pattern = jsonencode({
    source        = ["aws.autoscaling"]
    "detail-type" = ["EC2 Instance-terminate Lifecycle Action"]
    detail        = { AutoScalingGroupName = sort(var.autoscaling_group_names) }
  })
}

resource "aws_cloudwatch_event_target" "queue" {
  rule = aws_cloudwatch_event_rule.terminations.name
  arn  = aws_sqs_queue.terminations.arn
}

resource "aws_cloudwatch_event_target" "topic" {
  rule = aws_cloudwatch_event_rule.terminations.name
  arn  = aws_sns_topic.terminations.arn
}

resource "aws_sqs_queue" "terminations" {
  name                       = "${var.environment}-terminations"
  message_retention_seconds  = 86400
  visibility_timeout_seconds = 60
  # With a key of KMS EventBridge would need a grant on that key.
  sqs_managed_sse_enabled = true
}

data "aws_iam_policy_document" "queue" {
  statement {
    sid       = "EventBridgeRule"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.terminations.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_cloudwatch_event_rule.terminations.arn]
    }
  }
}

resource "aws_sqs_queue_policy" "terminations" {
  queue_url = aws_sqs_queue.terminations.id
  policy    = data.aws_iam_policy_document.queue.json
}

resource "aws_sns_topic" "terminations" {
  name = "${var.environment}-terminations"
}

# No condition as the queue has: with one, EventBridge's messages would be refused.
# Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html#eb-sns-permissions
# ("You can't use Condition blocks in Amazon SNS topic policies for EventBridge")
data "aws_iam_policy_document" "topic" {
  statement {
    sid       = "EventBridge"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.terminations.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
  }
}

resource "aws_sns_topic_policy" "terminations" {
  arn    = aws_sns_topic.terminations.arn
  policy = data.aws_iam_policy_document.topic.json
}
