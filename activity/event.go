package activity

import "fmt"

// A Verbosity says how much someone wants to know, or how important something is.
type Verbosity uint32

// The levels of Nix, from the most important to the most talkative.
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

// A Type says what an activity is. Nix adds types; an unknown one is no error.
type Type uint32

// The types of Nix 2.34, and FetchToStore of its successor.
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
	FetchToStore  Type = 113 // fields: source path, whether only hashed
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

// A ResultType says what a [Result] is. Nix adds types; an unknown one is no error.
type ResultType uint32

// The types of Nix 2.34, and FetchedToStore of its successor.
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

// An ID is the number of an activity. A daemon makes them up, unique among its own;
// 0 is no activity.
type ID uint64

// A Field is a number or a string. It is comparable; the zero value is the number 0.
type Field struct {
	isText bool
	number uint64
	text   string
}

// Number returns the field with that number.
func Number(n uint64) Field { return Field{number: n} }

// Text returns the field with that string.
func Text(s string) Field { return Field{isText: true, text: s} }

// Number returns the number, and whether the field is one.
func (f Field) Number() (uint64, bool) { return f.number, !f.isText }

// Text returns the string, and whether the field is one.
func (f Field) Text() (string, bool) { return f.text, f.isText }

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
	Text string // without the line feed at its end

	// Level is how important the line is, where that is known: the protocol does not say
	// it. Whoever sends lines to a client leaves out those that it does not want.
	Level Verbosity
}

// A Start begins an activity.
type Start struct {
	ID     ID
	Level  Verbosity
	Type   Type
	Text   string // for people; may be empty
	Fields []Field
	Parent ID // the activity that this one is part of, or 0
}

// A Stop ends an activity.
type Stop struct {
	ID ID
}

// A Result is something that an activity has come to.
type Result struct {
	ID     ID // of the activity
	Type   ResultType
	Fields []Field
}

func (Log) event()    {}
func (Start) event()  {}
func (Stop) event()   {}
func (Result) event() {}

// Line returns the text that an event has for people who follow along: that of a
// [Log], and the line of a build log. ok is false for all else.
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
