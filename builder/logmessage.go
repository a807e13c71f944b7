package builder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"pix/activity"
)

// A builder reports activities and messages in lines that begin with "@nix ". Builders are not trusted, so only their
// downloads are reported as activities, and these get ids of this process.

// maxNested is how many activities a builder can have at the same time. Further ones are ignored.
const maxNested = 1000

// nestedActivities are the running activities of a builder: their ids in this process, by the ids of the builder.
type nestedActivities map[uint64]activity.ID

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
	var value any
	if !utf8.ValidString(text) {
		l.warn(activity.LevelError, "bad JSON log message from the derivation builder: it is not UTF-8")
		return false
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber() // ids have more digits than a float64
	err := d.Decode(&value)
	if err == nil && len(bytes.TrimSpace([]byte(text[d.InputOffset():]))) > 0 {
		err = errTrailing
	}
	if err != nil {
		l.warn(activity.LevelError, "bad JSON log message from the derivation builder: "+err.Error())
		return false
	}
	members, ok := value.(map[string]any)
	err = errNoObject
	if ok {
		err = l.handle(message(members))
	}
	if err != nil {
		l.warn(activity.LevelWarn, "warning: Unable to handle a JSON message from the derivation builder: "+err.Error())
	}
	return err == nil
}

var (
	errNoObject = errors.New("it is not an object")
	errTrailing = errors.New("something follows the message")
)

func (l *buildLog) warn(level activity.Verbosity, text string) {
	l.events.HandleEvent(activity.Log{Level: level, Text: text})
}

// handle handles a message. It returns an error for a message with a wrong form. It ignores unknown actions.
func (l *buildLog) handle(m message) error {
	r := messageReader{m: m}
	switch r.text("action") {
	case "start":
		return l.start(&r)
	case "stop":
		id := r.number("id")
		if own, ok := l.nested[id]; ok && r.err == nil {
			l.events.HandleEvent(activity.Stop{ID: own})
			delete(l.nested, id)
		}
	case "result":
		own, ok := l.nested[r.number("id")]
		if !ok {
			break
		}
		result := activity.Result{ID: own, Type: activity.ResultType(r.word("type")), Fields: r.fields()}
		if r.err == nil {
			l.events.HandleEvent(result)
		}
	case "setPhase":
		phase := r.text("phase")
		if r.err == nil {
			l.events.HandleEvent(activity.Result{ID: l.id, Type: activity.SetPhase, Fields: []activity.Field{activity.Text(phase)}})
		}
	case "msg":
		log := activity.Log{Text: r.text("msg"), Level: activity.Verbosity(r.word("level"))}
		if r.err == nil {
			l.events.HandleEvent(log)
		}
	}
	return r.err
}

// start begins an activity of the builder.
func (l *buildLog) start(r *messageReader) error {
	if activity.Type(r.word("type")) != activity.FileTransfer || r.err != nil {
		return r.err
	}
	id := r.number("id")
	event := activity.Start{
		ID: activity.NewID(), Level: activity.Verbosity(r.word("level")), Type: activity.FileTransfer,
		Text: r.text("text"), Fields: r.fields(), Parent: l.id,
	}
	if _, ok := l.nested[id]; r.err != nil || ok || len(l.nested) >= maxNested {
		return r.err
	}
	if l.nested == nil {
		l.nested = nestedActivities{}
	}
	l.nested[id] = event.ID
	l.events.HandleEvent(event)
	return nil
}

// A message is a JSON object of a builder.
type message map[string]any

// A messageReader reads the members of a message. err is the first error.
type messageReader struct {
	m   message
	err error
}

func (r *messageReader) fail(name, want string) {
	if r.err == nil {
		r.err = fmt.Errorf("'%s' is not %s", name, want)
	}
}

func (r *messageReader) text(name string) string {
	s, ok := r.m[name].(string)
	if !ok {
		r.fail(name, "a string")
	}
	return s
}

func (r *messageReader) number(name string) uint64 {
	return r.parse(name, 64)
}

// word reads a number of 32 bits.
func (r *messageReader) word(name string) uint32 {
	return uint32(r.parse(name, 32))
}

func (r *messageReader) parse(name string, bits int) uint64 {
	s, _ := r.m[name].(json.Number)
	n, err := strconv.ParseUint(string(s), 10, bits)
	if err != nil {
		r.fail(name, "a number")
	}
	return n
}

// fields reads the fields of an activity or a result. They may be missing.
func (r *messageReader) fields() (fields []activity.Field) {
	list, ok := r.m["fields"].([]any)
	if !ok && r.m["fields"] != nil {
		r.fail("fields", "a list")
	}
	for _, value := range list {
		switch value := value.(type) {
		case string:
			fields = append(fields, activity.Text(value))
		case json.Number:
			n, err := strconv.ParseUint(string(value), 10, 64)
			if err != nil {
				r.fail("fields", "a list of strings and numbers")
				return nil
			}
			fields = append(fields, activity.Number(n))
		default:
			r.fail("fields", "a list of strings and numbers")
			return nil
		}
	}
	return fields
}
