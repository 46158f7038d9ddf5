"""SIP's transports: datagrams and connections, and whom they may come from."""
