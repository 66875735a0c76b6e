"""What is told of calls afterwards: the log line, and later metrics, traces and callbacks."""
