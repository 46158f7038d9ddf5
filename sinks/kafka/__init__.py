"""Records to Apache Kafka: from a spool on disk, in order, until they are acknowledged."""
