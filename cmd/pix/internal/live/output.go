package live

import (
	"io"
	"time"
)

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
	v.clear()
	n, err := o.w.Write(p)
	if n > 0 {
		v.midLine = p[n-1] != '\n'
	}
	return n, err
}

// Unwrap returns what is written to.
func (o *output) Unwrap() io.Writer { return o.w }

// clear takes the view off the terminal, and shows the messages that came before.
func (v *View) clear() {
	columns, rows := v.size()
	if !v.midLine {
		v.mu.Lock()
		messages := v.messages(time.Now().Add(pendingFor)) // also what was held back
		v.mu.Unlock()
		v.write(v.screen.frame(messages, nil, columns, rows))
	}
	v.write(v.screen.leave(columns, rows))
}
