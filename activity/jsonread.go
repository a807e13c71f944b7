package activity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ParseJSON parses an event in Nix's internal-json log format: a line without [JSONPrefix]. It returns a nil event for
// an action that this version does not know. The phase that a builder sets is a [Result] with the ID 0.
//
// Source: handleJSONLogMessage in src/libutil/logging.cc.
func ParseJSON(text string) (Event, error) {
	if !utf8.ValidString(text) {
		return nil, errNotUTF8
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber() // ids have more digits than a float64
	var value any
	if err := d.Decode(&value); err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace([]byte(text[d.InputOffset():]))) > 0 {
		return nil, errTrailing
	}
	members, ok := value.(map[string]any)
	if !ok {
		return nil, &MessageError{"it is not an object"}
	}
	r := messageReader{members: members}
	e := r.event()
	if r.err != nil {
		return nil, r.err
	}
	return e, nil
}

var (
	errNotUTF8  = errors.New("it is not UTF-8")
	errTrailing = errors.New("something follows the message")
)

// A MessageError is an error of [ParseJSON] about a text that is valid JSON and not a valid event.
type MessageError struct{ Reason string }

func (e *MessageError) Error() string { return e.Reason }

// A messageReader reads the members of a message. err is the first error.
type messageReader struct {
	members map[string]any
	err     error
}

func (r *messageReader) event() Event {
	switch r.text("action") {
	case "start":
		return Start{
			Type: Type(r.word("type")), ID: ID(r.number("id")), Level: Verbosity(r.word("level")),
			Text: r.text("text"), Fields: r.fields(), Parent: ID(r.optionalNumber("parent")),
		}
	case "stop":
		return Stop{ID: ID(r.number("id"))}
	case "result":
		return Result{ID: ID(r.number("id")), Type: ResultType(r.word("type")), Fields: r.fields()}
	case "setPhase":
		return Result{Type: SetPhase, Fields: []Field{Text(r.text("phase"))}}
	case "msg":
		return Log{Text: r.text("msg"), Level: Verbosity(r.word("level"))}
	}
	return nil
}

func (r *messageReader) fail(name, want string) {
	if r.err == nil {
		r.err = &MessageError{fmt.Sprintf("'%s' is not %s", name, want)}
	}
}

func (r *messageReader) text(name string) string {
	s, ok := r.members[name].(string)
	if !ok {
		r.fail(name, "a string")
	}
	return s
}

func (r *messageReader) number(name string) uint64 { return r.parse(name, 64) }

// optionalNumber returns 0 for a missing number.
func (r *messageReader) optionalNumber(name string) uint64 {
	if r.members[name] == nil {
		return 0
	}
	return r.number(name)
}

// word reads a number of 32 bits.
func (r *messageReader) word(name string) uint32 { return uint32(r.parse(name, 32)) }

func (r *messageReader) parse(name string, bits int) uint64 {
	s, _ := r.members[name].(json.Number)
	n, err := strconv.ParseUint(string(s), 10, bits)
	if err != nil {
		r.fail(name, "a number")
	}
	return n
}

// fields reads the fields of an activity or a result. They may be missing.
func (r *messageReader) fields() (fields []Field) {
	list, ok := r.members["fields"].([]any)
	if !ok && r.members["fields"] != nil {
		r.fail("fields", "a list")
	}
	for _, value := range list {
		switch value := value.(type) {
		case string:
			fields = append(fields, Text(value))
			continue
		case json.Number:
			if n, err := strconv.ParseUint(string(value), 10, 64); err == nil {
				fields = append(fields, Number(n))
				continue
			}
		}
		r.fail("fields", "a list of strings and numbers")
		return nil
	}
	return fields
}
