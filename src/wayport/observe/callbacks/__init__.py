"""Who is told of calls when they are over: one file each."""
