package server

import (
	"errors"
	"io"
	"time"

	"pix/protocol"
	"pix/store"
)

// openSession makes a session of the store the client's own, if it has sessions. In front of another
// daemon the handshake has done that, or failed to.
func (c *conn) openSession() error {
	sessions, ok := store.As[store.Sessioner](c.store)
	if c.unreachable != nil || c.session != nil || !ok {
		return c.unreachable
	}
	s, err := sessions.Session(c.ctx)
	if err == nil {
		c.store, c.session = s, s
	}
	return err
}

// greet shakes hands, unless the server shuts down. The connection counts as idle meanwhile, because the
// client waits for no operation.
func (c *conn) greet() error {
	c.greeting.Store(true)
	defer c.greeting.Store(false)
	if c.draining.Load() {
		return errDraining
	}
	return c.handshake()
}

// handshake shakes hands within HandshakeTimeout, not counting the wait for a daemon behind the store.
func (c *conn) handshake() error {
	deadline := time.Now().Add(c.opts.HandshakeTimeout)
	tooLate := time.AfterFunc(time.Hour, func() { c.fail(ErrStalled) })
	defer tooLate.Stop()
	wait := func() {
		if tooLate.Stop(); c.opts.HandshakeTimeout > 0 {
			tooLate.Reset(time.Until(deadline))
		}
	}
	wait()
	c.startRequest()
	params, err := protocol.ServerHandshakeFunc(c.reader, sender{&c.out}, c.store.Dir(), c.opts.Version, func() (protocol.Greeting, protocol.Features) {
		if c.refused == nil {
			tooLate.Stop()
			start := time.Now()
			c.unreachable = c.connect()
			if c.joined != nil {
				c.joined()
			}
			deadline = deadline.Add(time.Since(start))
			wait()
		}
		return protocol.Greeting{NixVersion: c.opts.NixVersion, Trust: c.trust()}, c.features()
	})
	if err != nil {
		return early(err)
	}
	c.params = params
	c.tunnel.params, c.tunnel.out, c.tunnel.settings = params, &c.out, &c.settings
	return nil
}

// early returns errHungUp if the stream has ended in the middle of a message: the client has hung up.
func early(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errHungUp
	}
	return err
}
