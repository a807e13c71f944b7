package monitor

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
)

// relay copies the bytes of both directions until both have ended, and closes the connections.
func relay(client, daemon net.Conn, t *tap) {
	var copying, watching sync.WaitGroup
	defer watching.Wait() // after the connections are closed
	defer client.Close()
	defer daemon.Close()
	pass := func(dst, src net.Conn, dir Direction) {
		err := pump(dst, src, t, dir)
		t.end(dir, ending(err))
		switch {
		case err != nil && !errors.Is(err, errRead):
			shutdownRead(src) // the other end gets the error of its writes, as from dst
		case hasHungUp(src):
			shutdown(dst)
		default:
			closeWrite(dst)
			watching.Go(func() {
				if waitHangUp(src) {
					shutdown(dst)
				}
			})
		}
	}
	copying.Go(func() { pass(daemon, client, FromClient) })
	copying.Go(func() { pass(client, daemon, FromDaemon) })
	copying.Wait()
}

const (
	smallBuffer = 8 << 10
	largeBuffer = 64 << 10
)

// largeBuffers are for connections that transfer much. Thousands of idle connections have small
// ones.
var largeBuffers = sync.Pool{New: func() any { b := make([]byte, largeBuffer); return &b }}

// errRead marks the error of a read.
var errRead = errors.New("reading failed")

// pump copies bytes until src ends, or dst does not take them. At the end of src it returns nil.
func pump(dst io.Writer, src io.Reader, t *tap, dir Direction) error {
	small := make([]byte, smallBuffer)
	var large *[]byte
	buf := small
	defer func() {
		if large != nil {
			largeBuffers.Put(large)
		}
	}()
	for {
		n, err := src.Read(buf)
		if n > 0 {
			t.push(dir, buf[:n])
			if _, err := dst.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return errors.Join(errRead, err)
		case n == len(buf) && large == nil:
			large = largeBuffers.Get().(*[]byte)
			buf = *large
		case n < smallBuffer && large != nil:
			largeBuffers.Put(large)
			large, buf = nil, small
		}
	}
}

// ending returns the error for the event about the end of a connection, or nil for an ordinary end.
func ending(err error) error {
	var number syscall.Errno
	switch {
	case err == nil || errors.Is(err, net.ErrClosed):
		return nil
	case errors.As(err, &number):
		return number
	}
	return err
}

// closeWrite ends the stream to the other end, which can still send.
func closeWrite(nc net.Conn) {
	if c, ok := nc.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
		return
	}
	nc.Close()
}

// shutdownRead makes writes of the other end fail.
func shutdownRead(nc net.Conn) {
	if c, ok := nc.(interface{ CloseRead() error }); ok {
		c.CloseRead()
		return
	}
	nc.Close()
}

// shutdown ends both directions. The other end can still read the bytes that it has not read yet.
func shutdown(nc net.Conn) {
	shutdownRead(nc)
	closeWrite(nc)
}
