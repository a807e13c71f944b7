package live

import "io"

// Output returns a writer to w, another way to the same terminal. What is written to it
// stays above the view, which waits with drawing until a line is at its end.
func (v *View) Output(w io.Writer) io.Writer { return &output{v, w} }

type output struct {
	view *View
	w    io.Writer
}

func (o *output) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	v := o.view
	v.screenMu.Lock()
	defer v.screenMu.Unlock()
	v.write(v.screen.leave(v.size()))
	n, err := o.w.Write(p)
	if n > 0 {
		v.midLine = p[n-1] != '\n'
	}
	return n, err
}

// Unwrap returns what is written to.
func (o *output) Unwrap() io.Writer { return o.w }
