"""Fault schedules of the delivery to Kafka: what is drawn, how it is done to real processes, how it is counted.

The promise under test: every record whose append to the spool was committed is *emitted*, and

    emitted = delivered + dead-lettered + still spooled

under every fault; a consumer that drops equal event ids has every record once, in the order of its call; once faults
stop, delivery is under way again within five seconds.

The emitter (`emitter`) is a process of its own, so that kill -9 is one; it writes a journal (`journal`) from outside of
the code under test. A schedule (`schedule`) is a pure function of its seed. `run` does to the processes what it says,
and `count` holds the journal against a real consumer, the dead letters and the spool.
"""
