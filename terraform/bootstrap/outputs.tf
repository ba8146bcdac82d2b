output "state_bucket" {
  description = "Name of the bucket, for state_bucket in the environment's file."
  value       = aws_s3_bucket.this.id
}
