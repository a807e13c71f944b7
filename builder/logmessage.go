package builder

import (
	"errors"
	"maps"
	"slices"

	"pix/activity"
)

// A builder reports activities and messages in lines that begin with "@nix ". Builders are not trusted, so only their
// downloads are reported as activities, and these get ids of this process.

// maxNested is how many activities a builder can have at the same time. Further ones are ignored.
const maxNested = 1000

// nestedActivities are the running activities of a builder: their ids in this process, by the ids of the builder.
type nestedActivities map[activity.ID]activity.ID

// end ends all activities.
func (n nestedActivities) end(events activity.Handler) {
	for _, id := range slices.Sorted(maps.Keys(n)) {
		events.HandleEvent(activity.Stop{ID: n[id]})
	}
	clear(n)
}

// handleMessage handles a message in JSON. It returns false if the text is not a valid message. The caller then
// treats it as a line of the log.
func (l *buildLog) handleMessage(text string) bool {
	e, err := activity.ParseJSON(text)
	if err == nil {
		l.handle(e)
		return true
	}
	if invalid := (*activity.MessageError)(nil); errors.As(err, &invalid) {
		l.warn(activity.LevelWarn, "warning: Unable to handle a JSON message from the derivation builder: "+invalid.Reason)
	} else {
		l.warn(activity.LevelError, "bad JSON log message from the derivation builder: "+err.Error())
	}
	return false
}

func (l *buildLog) warn(level activity.Verbosity, text string) {
	l.events.HandleEvent(activity.Log{Level: level, Text: text})
}

// handle handles an event of the builder. It ignores unknown activities.
func (l *buildLog) handle(e activity.Event) {
	switch e := e.(type) {
	case activity.Start:
		l.start(e)
	case activity.Stop:
		if own, ok := l.nested[e.ID]; ok {
			l.events.HandleEvent(activity.Stop{ID: own})
			delete(l.nested, e.ID)
		}
	case activity.Result:
		own, ok := l.nested[e.ID]
		if phase, is := phaseOf(e); is {
			own, ok = l.id, true
			if l.onPhase != nil {
				l.onPhase(phase)
			}
		}
		if ok {
			e.ID = own
			l.events.HandleEvent(e)
		}
	case activity.Log:
		l.events.HandleEvent(e)
	}
}

// phaseOf returns the phase of the build that a result sets. It checks the fields, because a client of Nix aborts on a
// phase that is not a string.
func phaseOf(r activity.Result) (phase string, ok bool) {
	if r.ID != 0 || r.Type != activity.SetPhase || len(r.Fields) != 1 {
		return "", false
	}
	return r.Fields[0].Text()
}

// start begins an activity of the builder.
func (l *buildLog) start(e activity.Start) {
	if _, ok := l.nested[e.ID]; e.Type != activity.FileTransfer || ok || len(l.nested) >= maxNested {
		return
	}
	if l.nested == nil {
		l.nested = nestedActivities{}
	}
	id := e.ID
	e.ID, e.Parent = activity.NewID(), l.id
	l.nested[id] = e.ID
	l.events.HandleEvent(e)
}
