package daemon

import (
	"net"
	"time"
)

// The rest of what makes a process a net.Conn.

// A commandAddr is the address of a command: its name.
type commandAddr string

func (commandAddr) Network() string  { return "command" }
func (a commandAddr) String() string { return string(a) }

// LocalAddr implements net.Conn.
func (p *process) LocalAddr() net.Addr { return commandAddr("stdio") }

// RemoteAddr implements net.Conn.
func (p *process) RemoteAddr() net.Addr { return commandAddr(p.cmd.Args[0]) }

// SetDeadline implements net.Conn.
func (p *process) SetDeadline(t time.Time) error {
	if err := p.in.SetDeadline(t); err != nil {
		return err
	}
	return p.out.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (p *process) SetReadDeadline(t time.Time) error { return p.out.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (p *process) SetWriteDeadline(t time.Time) error { return p.in.SetWriteDeadline(t) }
