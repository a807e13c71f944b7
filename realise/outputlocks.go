package realise

import (
	"context"
	"strings"

	"pix/builder"
	"pix/nixconf"
	"pix/store"
)

// As in Nix, the outputs are locked while another machine builds them. Another process that needs them waits for the locks, and
// then finds the outputs. Without the locks, it would build them, too.

// An outputLocker is a store with locks of outputs: see [builder.Store].
type outputLocker interface {
	LockObjects(ctx context.Context, names ...string) (builder.Locks, error)
	TryLockObjects(ctx context.Context, names ...string) (builder.Locks, error)

	// WithLocks returns a context with which the store adds objects whose locks are held.
	WithLocks(ctx context.Context, locks builder.Locks) context.Context
}

// outputLocks are the held locks of the outputs of a derivation.
type outputLocks struct {
	store outputLocker // nil if the outputs need no locks
	locks builder.Locks
}

func (l *outputLocks) release() {
	if l.store != nil {
		l.locks.Release()
	}
}

// context returns a context for adding the outputs to the store below.
func (l *outputLocks) context(ctx context.Context) context.Context {
	if l.store == nil {
		return ctx
	}
	return l.store.WithLocks(ctx, l.locks)
}

// buildLocked builds a derivation on a machine, with the locks of its outputs. With retry, another process has held the locks.
// The slot of the machine was released before the wait for them, so other derivations can use it.
func (c *call) buildLocked(slot *machineSlot, e *elsewhere) (result *store.BuildResult, retry bool, err error) {
	locks := &outputLocks{}
	if locker, ok := store.As[outputLocker](c.store.Store); ok && isReachedBySSH(slot.spec) {
		names, err := e.req.LockNames()
		var held builder.Locks
		if err == nil {
			held, err = locker.TryLockObjects(c.ctx, names...)
		}
		if held == nil || err != nil {
			c.store.machines.release(slot, false)
			if err == nil {
				held, err = locker.LockObjects(c.ctx, names...)
			}
			if err == nil {
				held.Release()
			}
			return nil, err == nil, err
		}
		locks = &outputLocks{locker, held}
	}
	defer locks.release()
	result, err = c.buildOn(slot, e, locks)
	return result, false, err
}

// isReachedBySSH reports whether a machine is another one. A daemon or a directory of this machine may be the store below
// itself, and would wait for the locks for ever.
func isReachedBySSH(m *nixconf.Machine) bool {
	uri, err := nixconf.CanonicalStore(m.Store)
	return err == nil && (strings.HasPrefix(uri, "ssh://") || strings.HasPrefix(uri, "ssh-ng://"))
}
