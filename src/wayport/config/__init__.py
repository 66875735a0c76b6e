"""Reading configuration: three spellings, one result."""
