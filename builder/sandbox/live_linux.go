package sandbox

import (
	"context"
	"os"
	"time"
)

// Mount mounts a file or directory of this machine, and everything below it, read-only, at a place directly below the
// directory of l. A symbolic link is copied. The process sees it when Mount returns.
func (l *Live) Mount(ctx context.Context, source, target string) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.socket == nil {
		return ErrEnded
	}
	reply, err := l.exchange(&mountCall{source, target})
	if err != nil {
		l.socket = nil // a late reply must not answer the next call
		return ErrEnded
	}
	return reply.error()
}

// mountTime bounds how long one mount may take.
const mountTime = 30 * time.Second

func (l *Live) exchange(m *mountCall) (*event, error) {
	if err := l.socket.SetDeadline(time.Now().Add(mountTime)); err != nil {
		return nil, err
	}
	if err := writeMessage(l.socket, m); err != nil {
		return nil, err
	}
	reply := new(event)
	return reply, readMessage(l.socket, reply)
}

// attach sets the socket to the keeper. The caller calls detach at the end of the process, before it closes the socket.
func (l *Live) attach(socket *os.File) (detach func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.socket = socket
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.socket = nil
	}
}

// A mountCall asks a keeper for a mount.
type mountCall struct{ source, target string }

func (m *mountCall) code(c *coder) {
	c.string(&m.source)
	c.string(&m.target)
}
