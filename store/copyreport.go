package store

import (
	"context"
	"fmt"
	"io"
	"iter"
	"sync"

	"pix/activity"
	"pix/internal/parallel"
)

// A copyReport reports the progress of a copy to the handler of a context, with the activities of Nix: one for the
// copy, and below it one for each object. A nil copyReport reports nothing.
type copyReport struct {
	id    activity.ID
	paths uint64 // how many there are

	activity.Sequencer // whose lock guards the rest
	done, runs, failed uint64
}

// reportCopy begins the report of a copy to the handler of ctx. The calls that copy the objects use the returned
// context: they run on several goroutines, and the guard calls the handler for all of them.
func reportCopy(ctx context.Context, guard *parallel.Guard, infos []*PathInfo) (context.Context, *copyReport) {
	h := activity.HandlerOf(ctx)
	if h == nil {
		return ctx, nil
	}
	guarded := activity.HandlerFunc(func(e activity.Event) {
		guard.Call(func() error { h.HandleEvent(e); return nil })
	})
	r := &copyReport{id: activity.NewID(), paths: uint64(len(infos)), Sequencer: activity.NewSequencer(guarded)}
	var bytes uint64
	for _, info := range infos {
		bytes += info.NARSize
	}
	r.HandleEvent(activity.Start{
		ID: r.id, Level: activity.LevelInfo, Type: activity.CopyPaths, Text: fmt.Sprintf("copying %d paths", len(infos)),
	})
	r.HandleEvent(activity.Result{ID: r.id, Type: activity.SetExpected, Fields: []activity.Field{
		activity.Number(uint64(activity.CopyPath)), activity.Number(bytes),
	}})
	r.HandleEvent(r.progress())
	return activity.WithHandler(ctx, r), r
}

// progress returns the event with the counts so far.
func (r *copyReport) progress() activity.Event {
	return activity.Result{ID: r.id, Type: activity.Progress, Fields: []activity.Field{
		activity.Number(r.done), activity.Number(r.paths), activity.Number(r.runs), activity.Number(r.failed),
	}}
}

// objects yields the objects of a sequence, and tells how each is read.
func (r *copyReport) objects(objects iter.Seq2[Import, error]) iter.Seq2[Import, error] {
	if r == nil {
		return objects
	}
	return func(yield func(Import, error) bool) {
		for object, err := range objects {
			if err != nil {
				yield(object, err)
				return
			}
			archive := r.begin(object)
			object.NAR = archive
			goOn := yield(object, nil)
			if archive.kept == nil {
				r.stop(archive.id, goOn, archive.src.hasFailed())
			}
			if !goOn {
				return
			}
		}
	}
}

// A reportedArchive is one of which it is told how it is read.
type reportedArchive struct {
	io.Reader
	src    *aheadArchive
	report *copyReport
	id     activity.ID

	kept  io.Closer // nil unless it is kept
	ended sync.Once
}

// Keep implements [Keepable].
func (a *reportedArchive) Keep() io.ReadCloser {
	a.kept = a.src.Keep()
	return a
}

// restart implements restarter.
func (a *reportedArchive) restart() bool { return a.src.restart() }

// Close closes an archive that was kept. It counts as copied unless it could not be read.
func (a *reportedArchive) Close() error {
	err := a.kept.Close()
	a.ended.Do(func() { a.report.stop(a.id, true, a.src.hasFailed()) })
	return err
}

// begin tells that an object is being copied, and then how its archive is read.
func (r *copyReport) begin(object Import) *reportedArchive {
	a := &reportedArchive{report: r, id: activity.NewID(), src: object.NAR.(*aheadArchive)} // as aheadReader yields it
	a.Reader = activity.ProgressReader(r, a.id, a.src, object.Info.NARSize)
	path := object.Info.Path
	r.Lock()
	defer r.Unlock()
	r.runs++
	r.Emit(activity.Start{
		ID: a.id, Level: activity.LevelInfo, Type: activity.CopyPath, Parent: r.id, Text: fmt.Sprintf("copying path '%s'", path),
		Fields: []activity.Field{activity.Text(string(path)), activity.Text(""), activity.Text("")},
	}, r.progress())
	return a
}

// stop reports that the archive of an object is not read any more. It counts as copied, or as failed, or, if
// everything ends, as neither.
func (r *copyReport) stop(id activity.ID, ok, failed bool) {
	r.Lock()
	defer r.Unlock()
	r.runs--
	switch {
	case failed:
		r.failed++
	case ok:
		r.done++
	}
	r.Emit(activity.Stop{ID: id}, r.progress())
}

// end tells that nothing is copied any more.
func (r *copyReport) end() {
	if r != nil {
		r.End(activity.Stop{ID: r.id})
	}
}
