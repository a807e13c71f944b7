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

// A copyReport reports the progress of a copy to the handler of a context, with the activities
// of Nix: one for the copy, and in it one for each object. A nil copyReport reports nothing.
type copyReport struct {
	id    activity.ID
	paths uint64 // number of paths

	activity.Sequencer    // whose lock guards the rest
	done, running, failed uint64
}

// reportCopy starts the report of a copy to the handler of ctx. The calls that copy the objects
// use the returned context: they run on several goroutines, and the guard calls the handler for
// all of them.
func reportCopy(ctx context.Context, guard *parallel.Guard, infos []*PathInfo) (context.Context, *copyReport) {
	h := activity.HandlerOf(ctx)
	if h == nil {
		return ctx, nil
	}
	r := &copyReport{id: activity.NewID(), paths: uint64(len(infos)), Sequencer: activity.NewSequencer(guard.Handler(h))}
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

// progress returns the event with the current counts.
func (r *copyReport) progress() activity.Event {
	return activity.Result{ID: r.id, Type: activity.Progress, Fields: []activity.Field{
		activity.Number(r.done), activity.Number(r.paths), activity.Number(r.running), activity.Number(r.failed),
	}}
}

// objects yields the objects of a sequence, and reports the reading of each.
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
			archive := r.startObject(object)
			object.NAR = archive
			more := yield(object, nil)
			if archive.kept == nil {
				r.stopObject(archive.id, more, archive.src.hasFailed())
			}
			if !more {
				return
			}
		}
	}
}

// A reportedArchive is an archive whose reading is reported.
type reportedArchive struct {
	io.Reader
	src    *aheadArchive
	report *copyReport
	id     activity.ID

	kept  io.Closer // nil unless the archive is kept
	ended sync.Once
}

// Keep implements [Keepable].
func (a *reportedArchive) Keep() io.ReadCloser {
	a.kept = a.src.Keep()
	return a
}

// restart implements restarter.
func (a *reportedArchive) restart() bool { return a.src.restart() }

// Close closes a kept archive. It counts as copied unless it could not be read.
func (a *reportedArchive) Close() error {
	err := a.kept.Close()
	a.ended.Do(func() { a.report.stopObject(a.id, true, a.src.hasFailed()) })
	return err
}

// startObject reports the start of an object. The returned archive reports the reading.
func (r *copyReport) startObject(object Import) *reportedArchive {
	a := &reportedArchive{report: r, id: activity.NewID(), src: object.NAR.(*aheadArchive)} // aheadReader yields this type
	a.Reader = activity.ProgressReader(r, a.id, a.src, object.Info.NARSize)
	path := object.Info.Path
	r.Lock()
	defer r.Unlock()
	r.running++
	r.Emit(activity.Start{
		ID: a.id, Level: activity.LevelInfo, Type: activity.CopyPath, Parent: r.id, Text: fmt.Sprintf("copying path '%s'", path),
		Fields: []activity.Field{activity.Text(string(path)), activity.Text(""), activity.Text("")},
	}, r.progress())
	return a
}

// stopObject reports that the archive of an object is not read any more. It counts as copied,
// as failed, or, if the whole copy ends, as neither.
func (r *copyReport) stopObject(id activity.ID, ok, failed bool) {
	r.Lock()
	defer r.Unlock()
	r.running--
	switch {
	case failed:
		r.failed++
	case ok:
		r.done++
	}
	r.Emit(activity.Stop{ID: id}, r.progress())
}

// finish reports the end of the copy.
func (r *copyReport) finish() {
	if r != nil {
		r.End(activity.Stop{ID: r.id})
	}
}
