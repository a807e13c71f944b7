package daemon

import (
	"errors"
	"io"
	"iter"

	"pix/store"
)

// A callback is the caller's code that runs in the middle of a call that has the connection for
// itself: a handler, a reader or a sequence of an upload, the body of a loop over archives. It may
// take long, panic, call runtime.Goexit, or call the connection again.

// ErrBusy is the error of a call that would wait for itself: a handler, a reader of an upload or
// the body of a loop over archives made it, on the connection that the call around it has for
// itself. A [Pool] uses another connection for such a call. A call that such code makes on another
// goroutine, or that the holder of an open archive makes, is not recognised: it waits.
var ErrBusy = errors.New("the connection is in use by the call that this call was made in")

// beginCallback notes that the connection waits for the caller's code until endCallback is called.
// A Pool looks at it: see freePlaces.
func (c *Conn) beginCallback() {
	c.steps.Add(1)
	c.callbacks.Add(1)
}

func (c *Conn) endCallback() { c.callbacks.Add(-1) }

// markCaller notes that this goroutine runs callbacks of the call that has the connection for
// itself, until the call gives it back.
func (c *Conn) markCaller() {
	if !c.leased {
		c.callers.add()
	}
}

// A callbackReader is the caller's reader. Each Read is a callback.
type callbackReader struct {
	c *Conn
	r io.Reader
}

func (r *callbackReader) Read(p []byte) (int, error) {
	r.c.beginCallback()
	defer r.c.endCallback()
	return r.r.Read(p)
}

// callbackObjects returns the caller's sequence as a callback, with callbackReaders.
func (c *Conn) callbackObjects(objects iter.Seq2[store.Import, error]) iter.Seq2[store.Import, error] {
	return func(yield func(store.Import, error) bool) {
		c.beginCallback()
		defer c.endCallback()
		for object, err := range objects {
			object.NAR = &callbackReader{c, object.NAR}
			if !c.yieldObject(object, err, yield) {
				return
			}
		}
	}
}

// yieldObject leaves a callback while the object is uploaded.
func (c *Conn) yieldObject(object store.Import, err error, yield func(store.Import, error) bool) bool {
	c.endCallback()
	defer c.beginCallback()
	return yield(object, err)
}
