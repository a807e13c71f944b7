package substitute

import (
	"context"
	"fmt"

	"pix/activity"
	"pix/internal/parallel"
	"pix/storepath"
)

// A report sends the progress of a call to the handler of its context, as the activities that Nix has
// for it. It is also the handler of everything that the call does on other goroutines. A nil report
// does nothing.
type report struct {
	activity.Sequencer // whose lock guards the rest

	realise, copies activity.ID // 0 before anything is fetched

	done, expected, running uint64 // paths
	download, nar           uint64 // expected bytes
}

// newReport returns the report of a call, and a context whose handler is the report. The guard runs the
// handler of the caller.
func newReport(ctx context.Context, guard *parallel.Guard) (context.Context, *report) {
	h := activity.HandlerOf(ctx)
	if h == nil {
		return ctx, nil
	}
	r := &report{Sequencer: activity.NewSequencer(guard.Handler(h))}
	return activity.WithHandler(ctx, r), r
}

// log sends a log line.
func (r *report) log(level activity.Verbosity, format string, args ...any) {
	if r != nil {
		r.HandleEvent(activity.Log{Level: level, Text: fmt.Sprintf(format, args...)})
	}
}

// begin starts the activity of querying a path, and returns a function that stops it.
func (r *report) begin(path storepath.Path, uri string) (end func()) {
	if r == nil {
		return func() {}
	}
	id := activity.NewID()
	r.HandleEvent(activity.Start{
		ID: id, Level: activity.LevelTalkative, Type: activity.QueryPathInfo,
		Text:   fmt.Sprintf("querying info about '%s' on '%s'", path, uri),
		Fields: []activity.Field{activity.Text(string(path)), activity.Text(uri)},
	})
	return func() { r.HandleEvent(activity.Stop{ID: id}) }
}

// expect adds objects to the expected paths and bytes.
func (r *report) expect(fetched []*found) {
	if r == nil {
		return
	}
	r.Lock()
	defer r.Unlock()
	if r.realise == 0 {
		r.realise, r.copies = activity.NewID(), activity.NewID()
		r.Emit(
			activity.Start{ID: r.realise, Level: activity.LevelError, Type: activity.Realise},
			activity.Start{ID: r.copies, Level: activity.LevelError, Type: activity.CopyPaths},
		)
	}
	r.expected += uint64(len(fetched))
	for _, f := range fetched {
		r.download, r.nar = r.download+f.downloadSize, r.nar+f.info.NARSize
	}
	r.Emit(r.progress(), r.expects(activity.FileTransfer, r.download), r.expects(activity.CopyPath, r.nar))
}

// dropped subtracts objects that are not fetched after all.
func (r *report) dropped(fetched []*found) {
	if r == nil {
		return
	}
	r.Lock()
	defer r.Unlock()
	r.expected -= uint64(len(fetched))
	for _, f := range fetched {
		r.download, r.nar = r.download-f.downloadSize, r.nar-f.info.NARSize
	}
}

// arrived adds to the paths that have become valid.
func (r *report) arrived(n int) {
	if r == nil {
		return
	}
	r.Lock()
	defer r.Unlock()
	r.done += uint64(n)
	r.Emit(r.progress())
}

func (r *report) expects(t activity.Type, n uint64) activity.Event {
	return activity.Result{ID: r.realise, Type: activity.SetExpected, Fields: []activity.Field{activity.Number(uint64(t)), activity.Number(n)}}
}

// progress returns the event with the number of done, expected and running paths.
func (r *report) progress() activity.Event {
	return activity.Result{ID: r.copies, Type: activity.Progress, Fields: []activity.Field{
		activity.Number(r.done), activity.Number(max(r.expected, r.done)), activity.Number(r.running), activity.Number(0),
	}}
}

// A transfer is an archive that is being fetched: its two activities.
type transfer struct {
	substitute, copy activity.ID
}

// fetch starts the activities of an archive.
func (r *report) fetch(path storepath.Path, uri string) transfer {
	t := transfer{activity.NewID(), activity.NewID()}
	r.Lock()
	defer r.Unlock()
	r.running++
	r.Emit(
		activity.Start{
			ID: t.substitute, Level: activity.LevelError, Type: activity.Substitute, Parent: r.copies,
			Fields: []activity.Field{activity.Text(string(path)), activity.Text(uri)},
		},
		activity.Start{
			ID: t.copy, Level: activity.LevelInfo, Type: activity.CopyPath, Parent: t.substitute,
			Text:   fmt.Sprintf("copying path '%s' from '%s'", path, uri),
			Fields: []activity.Field{activity.Text(string(path)), activity.Text(uri), activity.Text("local")},
		},
		r.progress(),
	)
	return t
}

// fetched stops the activities of an archive.
func (r *report) fetched(t transfer) {
	r.Lock()
	defer r.Unlock()
	r.running--
	r.Emit(activity.Stop{ID: t.copy}, activity.Stop{ID: t.substitute}, r.progress())
}

// end stops the activities of the call.
func (r *report) end() {
	switch {
	case r == nil:
	case r.realise == 0:
		r.End()
	default:
		r.End(activity.Stop{ID: r.copies}, activity.Stop{ID: r.realise})
	}
}
