package store

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"pix/activity"
)

// A copyReport tells the handler of a context how far a copy is, with the activities that
// Nix has for it: one for the whole, and in it one for each object. Nil tells nobody.
type copyReport struct {
	id         activity.ID
	paths      uint64 // how many there are
	done, runs uint64

	mu      sync.Mutex // one goroutine at a time calls the handler
	handler activity.Handler
	ended   bool
}

// reportCopy begins to tell the handler of ctx that these objects are copied. The context
// that it returns is for the calls that copy them: they run on several goroutines, and have
// the same handler.
func reportCopy(ctx context.Context, infos []*PathInfo) (context.Context, *copyReport) {
	h := activity.HandlerOf(ctx)
	if h == nil {
		return ctx, nil
	}
	r := &copyReport{id: activity.NewID(), paths: uint64(len(infos)), handler: h}
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
	r.progress()
	return activity.WithHandler(ctx, r), r
}

// HandleEvent implements [activity.Handler].
func (r *copyReport) HandleEvent(e activity.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		r.handler.HandleEvent(e)
	}
}

func (r *copyReport) progress() {
	r.HandleEvent(activity.Result{ID: r.id, Type: activity.Progress, Fields: []activity.Field{
		activity.Number(r.done), activity.Number(r.paths), activity.Number(r.runs), activity.Number(0),
	}})
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
			id := activity.NewID()
			r.begin(id, object.Info)
			object.NAR = activity.ProgressReader(r, id, object.NAR, object.Info.NARSize)
			goOn := yield(object, nil)
			r.stop(id, goOn)
			if !goOn {
				return
			}
		}
	}
}

// begin tells that an object is being copied.
func (r *copyReport) begin(id activity.ID, info *PathInfo) {
	r.HandleEvent(activity.Start{
		ID: id, Level: activity.LevelInfo, Type: activity.CopyPath, Parent: r.id, Text: fmt.Sprintf("copying path '%s'", info.Path),
		Fields: []activity.Field{activity.Text(string(info.Path)), activity.Text(""), activity.Text("")},
	})
	r.runs++
	r.progress()
}

// stop tells that an object has been copied, or not.
func (r *copyReport) stop(id activity.ID, ok bool) {
	r.HandleEvent(activity.Stop{ID: id})
	if r.runs--; ok {
		r.done++
	}
	r.progress()
}

// end tells that nothing is copied any more.
func (r *copyReport) end() {
	if r == nil {
		return
	}
	r.HandleEvent(activity.Stop{ID: r.id})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
}
