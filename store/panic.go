package store

import "pix/internal/parallel"

// A PanicError is the value of a panic that functions of this package raise again. They call stores,
// callbacks and handlers on goroutines of their own. If one of these panics there, the function panics
// with a PanicError on the goroutine of its caller, who can recover it. If one of these calls
// [runtime.Goexit] there, the function calls it on the goroutine of its caller.
type PanicError = parallel.PanicError
