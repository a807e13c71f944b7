package server

import (
	"net"
	"syscall"
)

// rawSocket returns the socket beneath a connection, or nil. What has a socket and does more than
// to read from it and write to it, such as encrypting, is none.
func rawSocket(nc net.Conn) syscall.RawConn {
	var sc syscall.Conn
	switch nc := nc.(type) {
	case *net.UnixConn:
		sc = nc
	case *net.TCPConn:
		sc = nc
	default:
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}
