package live

import (
	"io"
	"time"
)

// Output returns a writer to w, which must be the same terminal. The output appears above the view. While a line of the
// output is incomplete, the view is not drawn.
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
	v.clear()
	n, err := o.w.Write(p)
	if n > 0 {
		v.midLine = p[n-1] != '\n'
	}
	return n, err
}

// Unwrap returns the underlying writer.
func (o *output) Unwrap() io.Writer { return o.w }

// clear removes the view from the terminal, and writes the messages that are older than the output.
func (v *View) clear() {
	columns, rows := v.size()
	if !v.midLine {
		v.mu.Lock()
		messages := v.takeMessages(time.Now().Add(pendingTime)) // with the pending one
		v.mu.Unlock()
		v.write(v.screen.frame(messages, nil, columns, rows))
	}
	v.write(v.screen.leave(columns, rows))
}
