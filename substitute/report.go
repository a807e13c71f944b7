package substitute

import (
	"context"
	"fmt"

	"pix/activity"
	"pix/internal/parallel"
	"pix/storepath"
)

// A report tells the handler of a context what a call does, with the activities that Nix has for
// it. It is itself the handler of all that the call has others do, on whatever goroutine. Nil tells
// nobody.
type report struct {
	activity.Sequencer // whose lock guards the rest

	realise, copies activity.ID // 0 before anything is fetched

	done, expected, running uint64 // paths
	download, nar           uint64 // bytes that are expected
}

// newReport returns a report for a call, and the context of what it does. The guard calls the
// handler.
func newReport(ctx context.Context, guard *parallel.Guard) (context.Context, *report) {
	h := activity.HandlerOf(ctx)
	if h == nil {
		return ctx, nil
	}
	guarded := activity.HandlerFunc(func(e activity.Event) {
		guard.Call(func() error { h.HandleEvent(e); return nil })
	})
	r := &report{Sequencer: activity.NewSequencer(guarded)}
	return activity.WithHandler(ctx, r), r
}

// say tells a line.
func (r *report) say(level activity.Verbosity, format string, args ...any) {
	if r != nil {
		r.HandleEvent(activity.Log{Level: level, Text: fmt.Sprintf(format, args...)})
	}
}

// begin tells that a path is looked for, and returns what tells that this has ended.
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

// expect tells what is going to be fetched.
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

// dropped tells that so many of what was expected are not there after all.
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

// arrived tells that paths have become valid.
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

// progress returns how far it is.
func (r *report) progress() activity.Event {
	return activity.Result{ID: r.copies, Type: activity.Progress, Fields: []activity.Field{
		activity.Number(r.done), activity.Number(max(r.expected, r.done)), activity.Number(r.running), activity.Number(0),
	}}
}

// A transfer is an archive that is being fetched.
type transfer struct {
	substitute, copy activity.ID
}

// fetch tells that an archive is being fetched.
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

// fetched tells that an archive is fetched no more.
func (r *report) fetched(t transfer) {
	r.Lock()
	defer r.Unlock()
	r.running--
	r.Emit(activity.Stop{ID: t.copy}, activity.Stop{ID: t.substitute}, r.progress())
}

// end tells that the call has ended.
func (r *report) end() {
	switch {
	case r == nil:
	case r.realise == 0:
		r.End()
	default:
		r.End(activity.Stop{ID: r.copies}, activity.Stop{ID: r.realise})
	}
}
