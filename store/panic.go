package store

import "pix/internal/parallel"

// A PanicError is what functions of this package panic with after a panic on another goroutine: of a
// method of a store, of a callback, or of a handler, which they call on goroutines of their own. So a
// panic always reaches the goroutine of the caller, who may recover it, as it would without
// concurrency. A store that calls [runtime.Goexit] there ends the caller's goroutine, too.
type PanicError = parallel.PanicError
