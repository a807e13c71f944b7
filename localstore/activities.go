package localstore

import (
	"context"

	"pix/activity"
)

// A task is an activity that whoever follows a call is told of. It is for one goroutine.
type task struct {
	handler activity.Handler
	id      activity.ID
}

// begin tells that something begins.
func begin(ctx context.Context, level activity.Verbosity, typ activity.Type, text string) task {
	t := task{handler: activity.HandlerOf(ctx)}
	if t.handler != nil {
		t.id = activity.NewID()
		t.handler.HandleEvent(activity.Start{ID: t.id, Level: level, Type: typ, Text: text})
	}
	return t
}

func (t task) result(typ activity.ResultType, numbers ...uint64) {
	if t.handler == nil {
		return
	}
	fields := make([]activity.Field, len(numbers))
	for i, n := range numbers {
		fields[i] = activity.Number(n)
	}
	t.handler.HandleEvent(activity.Result{ID: t.id, Type: typ, Fields: fields})
}

// progress tells how much of the whole is done.
func (t task) progress(done, expected int) {
	t.result(activity.Progress, uint64(done), uint64(expected), 0, 0)
}

func (t task) stop() {
	if t.handler != nil {
		t.handler.HandleEvent(activity.Stop{ID: t.id})
	}
}
