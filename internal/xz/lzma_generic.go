//go:build !amd64

package xz

// run decodes symbols until the window is filled to limit or more, or until more than end bytes of the input are used. It
// returns false if a distance goes beyond the window.
func (d *lzma) run(w *window, limit, end uint) bool { return d.runGeneric(w, limit, end) }
