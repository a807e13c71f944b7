package activity

import (
	"fmt"
	"strings"
)

// A Verbosity is the importance of an event, or the least importance that a client wants
// to see.
type Verbosity uint32

// The levels of Nix, from the most to the least important.
const (
	LevelError Verbosity = iota
	LevelWarn
	LevelNotice
	LevelInfo
	LevelTalkative
	LevelChatty
	LevelDebug
	LevelVomit
)

var levelNames = [...]string{"error", "warn", "notice", "info", "talkative", "chatty", "debug", "vomit"}

func (v Verbosity) String() string {
	if int(v) < len(levelNames) {
		return levelNames[v]
	}
	return fmt.Sprintf("Verbosity(%d)", uint32(v))
}

// A Type is the type of an activity. New versions of Nix add types, so an unknown type is
// not an error.
type Type uint32

// The types of Nix 2.34. FetchToStore is newer.
const (
	Unknown       Type = 0
	CopyPath      Type = 100 // fields: store path, source, destination
	FileTransfer  Type = 101 // fields: URL
	Realise       Type = 102
	CopyPaths     Type = 103
	Builds        Type = 104
	Build         Type = 105 // fields: derivation, machine, round, rounds
	OptimiseStore Type = 106
	VerifyPaths   Type = 107
	Substitute    Type = 108 // fields: store path, substituter
	QueryPathInfo Type = 109 // fields: store path, substituter
	PostBuildHook Type = 110 // fields: derivation
	BuildWaiting  Type = 111 // fields: derivation, path resolved
	FetchTree     Type = 112
	FetchToStore  Type = 113 // fields: source path, whether it is only hashed
)

var typeNames = map[Type]string{
	Unknown: "unknown", CopyPath: "copy-path", FileTransfer: "file-transfer", Realise: "realise",
	CopyPaths: "copy-paths", Builds: "builds", Build: "build", OptimiseStore: "optimise-store",
	VerifyPaths: "verify-paths", Substitute: "substitute", QueryPathInfo: "query-path-info",
	PostBuildHook: "post-build-hook", BuildWaiting: "build-waiting", FetchTree: "fetch-tree",
	FetchToStore: "fetch-to-store",
}

func (t Type) String() string {
	if name, ok := typeNames[t]; ok {
		return name
	}
	return fmt.Sprintf("Type(%d)", uint32(t))
}

// A ResultType is the type of a [Result]. New versions of Nix add types, so an unknown type
// is not an error.
type ResultType uint32

// The types of Nix 2.34. FetchedToStore is newer.
const (
	FileLinked       ResultType = 100 // fields: bytes saved, blocks saved
	BuildLogLine     ResultType = 101 // fields: the line
	UntrustedPath    ResultType = 102 // fields: store path
	CorruptedPath    ResultType = 103 // fields: store path
	SetPhase         ResultType = 104 // fields: phase
	Progress         ResultType = 105 // fields: done, expected, running, failed
	SetExpected      ResultType = 106 // fields: activity type, number expected
	PostBuildLogLine ResultType = 107 // fields: the line
	FetchStatus      ResultType = 108 // fields: the status
	FetchedToStore   ResultType = 109 // fields: store path
)

var resultNames = map[ResultType]string{
	FileLinked: "file-linked", BuildLogLine: "build-log-line", UntrustedPath: "untrusted-path",
	CorruptedPath: "corrupted-path", SetPhase: "set-phase", Progress: "progress",
	SetExpected: "set-expected", PostBuildLogLine: "post-build-log-line", FetchStatus: "fetch-status",
	FetchedToStore: "fetched-to-store",
}

func (t ResultType) String() string {
	if name, ok := resultNames[t]; ok {
		return name
	}
	return fmt.Sprintf("ResultType(%d)", uint32(t))
}

// An ID identifies an activity. Each process allocates its own; see [NewID]. 0 means no
// activity.
type ID uint64

// A Field is a number or a string. It is comparable; the zero value is the number 0.
type Field struct {
	isText bool
	number uint64
	text   string
}

// Number returns a field with the number n.
func Number(n uint64) Field { return Field{number: n} }

// Text returns a field with the string s.
func Text(s string) Field { return Field{isText: true, text: s} }

// Number returns the number. ok is false if the field is a string.
func (f Field) Number() (n uint64, ok bool) { return f.number, !f.isText }

// Text returns the string. ok is false if the field is a number.
func (f Field) Text() (s string, ok bool) { return f.text, f.isText }

func (f Field) String() string {
	if f.isText {
		return fmt.Sprintf("%q", f.text)
	}
	return fmt.Sprint(f.number)
}

// An Event is a [Log], [Start], [Stop] or [Result].
type Event interface{ event() }

// A Log is a line for people, possibly with ANSI colours ([Plain] removes them).
type Log struct {
	Text string // without the trailing line feed

	// Level is the importance of the line. It is LevelError, the zero value, in lines that
	// came over the protocol, which does not transmit it. A server filters the lines by the
	// client's verbosity before it sends them.
	Level Verbosity
}

// ErrorLog returns the line for an error, in the form of Nix: "error: " and the text, whose further lines have the
// indentation of the first.
func ErrorLog(text string) Log {
	return Log{Level: LevelError, Text: strings.TrimRight("error: "+Indent(text), " ")}
}

// Indent returns the text of an error as Nix prints it after "error: ": further lines have the indentation of the first.
func Indent(text string) string {
	lines := strings.Split(strings.TrimRight(text, " \t\r\n"), "\n")
	for i := 1; i < len(lines); i++ {
		if lines[i] = strings.TrimRight(lines[i], " \t\r"); lines[i] != "" {
			lines[i] = "       " + lines[i]
		}
	}
	return strings.Join(lines, "\n")
}

// A Start starts an activity.
type Start struct {
	ID     ID
	Level  Verbosity
	Type   Type
	Text   string // for people; may be empty
	Fields []Field
	Parent ID // the parent activity, or 0
}

// A Stop ends an activity.
type Stop struct {
	ID ID
}

// A Result reports a result of an activity.
type Result struct {
	ID     ID // the activity
	Type   ResultType
	Fields []Field
}

func (Log) event()    {}
func (Start) event()  {}
func (Stop) event()   {}
func (Result) event() {}

// Line returns the text of a [Log], or of a line of a build log. ok is false for all other
// events.
func Line(e Event) (line string, ok bool) {
	switch e := e.(type) {
	case Log:
		return e.Text, true
	case Result:
		if (e.Type == BuildLogLine || e.Type == PostBuildLogLine) && len(e.Fields) > 0 {
			return e.Fields[0].Text()
		}
	}
	return "", false
}
