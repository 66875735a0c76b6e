"""AWS Bedrock's Converse API: what is sent to Bedrock and understood of its answers. We do not offer it to clients."""

from wayport.dialects.bedrock_converse_answer import NAME
from wayport.dialects.bedrock_converse_upstream import Upstream
from wayport.dialects.dialect import Dialect

DIALECT = Dialect(name=NAME, upstream=Upstream())
