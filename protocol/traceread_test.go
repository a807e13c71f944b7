package protocol

import (
	"errors"
	"io"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pix/activity"
	"pix/store"
)

// sameTrace fails unless got, which was read from line, equals want and is shown as the same
// line.
func sameTrace(t *testing.T, line string, got, want any, again func() string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, line)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s\nread\n%s\ninstead of\n%s", line, show(got), show(want))
	}
	if again := again(); again != line {
		t.Fatalf("read and shown again\n%s\ninstead of\n%s", again, line)
	}
}

// In every version and with all features, a value that is read from a trace is the same as the
// value read from the wire.
func TestTraceRoundTrip(t *testing.T) {
	compared := map[Op]int{}
	for _, p := range allParams() {
		for _, row := range Operations() {
			for seed := range uint64(8) {
				req, reply := row.request(), row.reply()
				newFiller(seed).fill(req)
				newFiller(seed).fill(reply)
				if b, err := p.AppendRequest(nil, req); err == nil {
					want, err := p.ReadRequest(reader(b))
					if err != nil {
						t.Fatal(err)
					}
					line := p.TraceRequest(want, -1)
					got, err := p.ParseTraceRequest(line)
					sameTrace(t, line, got, want, func() string { return p.TraceRequest(got, -1) }, err)
					compared[row.Op]++
				}
				if b, err := p.AppendReply(nil, row.Op, reply); err == nil && p.Check(row.Op) == nil {
					want := NewReply(row.Op)
					if err := p.ReadReply(reader(b), row.Op, want); err != nil {
						t.Fatal(err)
					}
					line := p.TraceReply(row.Op, want, -1)
					op, got, err := p.ParseTraceReply(line)
					sameTrace(t, line, got, want, func() string { return p.TraceReply(op, got, -1) }, err)
				}
			}
		}
		for seed := range uint64(64) {
			var m Message
			newFiller(seed).fill(&m)
			b, err := p.AppendMessage(nil, m)
			if err != nil {
				continue
			}
			want, err := p.ReadMessage(reader(b))
			if err != nil {
				t.Fatal(err)
			}
			line := p.TraceMessage(want, -1)
			got, err := p.ParseTraceMessage(line)
			sameTrace(t, line, got, want, func() string { return p.TraceMessage(got, -1) }, err)
		}
		g := Greeting{DaemonVersion: p.Version + 1, NixVersion: "2.34.8 (of us)", Trust: NotTrusted}
		line := p.TraceGreeting(g)
		q, got, err := ParseTraceGreeting(line)
		sameTrace(t, line, []any{q, got}, []any{p, g}, func() string { return q.TraceGreeting(got) }, err)
	}
	for _, row := range Operations() {
		if compared[row.Op] < 4 {
			t.Errorf("only %d requests of %s were compared", compared[row.Op], row.Name)
		}
	}
	for _, daemon := range []bool{false, true} {
		line := TraceClosed(daemon, "no\nmore")
		got, why, err := ParseTraceClosed(line)
		sameTrace(t, line, []any{got, why}, []any{daemon, "no\nmore"}, func() string { return TraceClosed(got, why) }, err)
	}
	for _, b := range []string{"", "x", "two\nlines", "\x00\xff�é\u2028", `"…(5 bytes)`} {
		line := TraceData([]byte(b), -1)
		got, err := ParseTraceData(line)
		sameTrace(t, line, string(got), b, func() string { return TraceData(got, -1) }, err)
	}
}

// A trace shows numbers by name, and numbers without a name as digits. Both are read.
func TestTraceNames(t *testing.T) {
	p := Params{Version: MaxVersion, Dir: testDir}
	read := func(m Message) {
		t.Helper()
		line := p.TraceMessage(m, -1)
		got, err := p.ParseTraceMessage(line)
		sameTrace(t, line, got, m, func() string { return p.TraceMessage(got, -1) }, err)
	}
	for n := range uint32(400) { // more than all names
		read(Message{Kind: MessageStart, Event: activity.Start{Type: activity.Type(n), Level: activity.Verbosity(n)}})
		read(Message{Kind: MessageEvent, Event: activity.Result{Type: activity.ResultType(n)}})
		if n > 255 && !strings.Contains(activity.Type(n).String()+activity.ResultType(n).String(), "(") {
			t.Errorf("%d has a name, but mostNamed is smaller", n)
		}
	}
	for n := store.BuildStatus(0); n <= store.NoSubstituters; n++ {
		want := &BuildDerivationReply{store.BuildResult{Status: n}}
		line := p.TraceReply(BuildDerivation, want, -1)
		op, got, err := p.ParseTraceReply(line)
		sameTrace(t, line, got, want, func() string { return p.TraceReply(op, got, -1) }, err)
	}
}

// The error about an invalid line has the column and the reason.
func TestTraceRefused(t *testing.T) {
	p := Params{Version: MaxVersion, Dir: testDir}
	old := Params{Version: MakeVersion(21), Dir: testDir}
	const path = string(testPath)
	request := func(p Params) func(string) error {
		return func(line string) error { _, err := p.ParseTraceRequest(line); return err }
	}
	reply := func(line string) error { _, _, err := p.ParseTraceReply(line); return err }
	message := func(line string) error { _, err := p.ParseTraceMessage(line); return err }
	greeting := func(line string) error { _, _, err := ParseTraceGreeting(line); return err }
	data := func(line string) error { _, err := ParseTraceData(line); return err }
	closed := func(line string) error { _, _, err := ParseTraceClosed(line); return err }
	for _, c := range []struct {
		parse  func(string) error
		line   string
		column int
		what   string
	}{
		{request(p), "", 1, `operation: name: "" is not the name of an operation`},
		{request(p), "Nonsense path=x", 1, `operation: name: "Nonsense" is not the name of an operation`},
		{request(p), "IsValidPath", 12, `IsValidPath request: path: expected " "`},
		{request(p), "IsValidPath valid=true", 13, `IsValidPath request: path: expected "path="`},
		{request(p), "IsValidPath path=", 18, "expected a value"},
		{request(p), "IsValidPath path=nonsense", 18, `"nonsense" is not valid`},
		{request(p), "IsValidPath path=" + path + " path=x", 18 + len(path), "expected the end of the line"},
		{request(p), p.TraceRequest(&IsValidPathRequest{"nonsense"}, -1), 13, `expected "path="`},
		{request(p), "QueryValidPaths paths=" + path + " substitute=true", 23, `expected "["`},
		{request(p), "QueryValidPaths paths=[" + path + " substitute=true", 24 + len(path), `expected ", "`},
		{request(p), "QueryValidPaths paths=[] substitute=1", 37, `"1" is neither true nor false`},
		{request(p), `AddTextToStore name=a contents="xx"…(100 bytes) references=[]`, 32, "the text was cut"},
		{request(p), `AddTextToStore name=a contents="xx references=[]`, 32, "expected a quoted text"},
		{request(p), "BuildPaths paths=[] build-mode=later", 32, `"later" is neither a number nor a known name`},
		{request(p), "CollectGarbage action=4 paths=[]", 23, `"4" is neither a number nor a known name`},
		{request(old), "QueryMissing paths=[derived-path=" + path + ".drv] ", 34 + len(path) + 5, "expected the end of the line"},
		{request(old), "QueryMissing paths=[derived-path=" + path + ".drv]", 1, "does not support making a .drv file itself valid"},
		{request(old), "QueryDerivationOutputMap path=" + path, 1, "does not support operation QueryDerivationOutputMap"},
		{reply, "SubmitOutput", 1, "does not support operation SubmitOutput"},
		{reply, "QueryMissing will-build=[] will-substitute=[] unknown=[] download-size=-1 NAR-size=0", 72, `"-1" is not a number`},
		{reply, "FindRoots roots=[link=a path=" + path + "]x", 31 + len(path), "expected the end of the line"},
		{message, "Whisper", 1, `message: kind: "Whisper" is not a kind of message`},
		{message, "Result activity=1 type=progress fields=[x]", 41, `"x" is not a number`},
		{message, "Last (no)", 5, "expected the end of the line"},
		{greeting, "greeting version=2.39", 18, `"2.39" is not a version from 1.18 on`},
		{greeting, "greeting version=1.39 negotiated=1.39", 34, "1.39 is newer than 1.38"},
		{greeting, "greeting version=1.38 negotiated=1.38 features=[flying] store-dir=/nix/store nix=x trust=unknown", 90, "only these of the features flying are known: "},
		{greeting, "hello", 1, `"hello" instead of "greeting"`},
		{closed, "closed by=cat why=x", 11, `"cat" is neither daemon nor client`},
		{data, `body data="a"…(7 bytes)`, 11, "the text was cut"},
	} {
		err := c.parse(c.line)
		var e *TraceError
		if !errors.As(err, &e) || e.Column != c.column || e.Line != 0 || !strings.Contains(err.Error(), c.what) {
			t.Errorf("%s\n%v\ninstead of column %d, %s", c.line, err, c.column, c.what)
		}
		if cut := strings.Contains(c.what, "cut"); errors.Is(err, ErrTraceCut) != cut {
			t.Errorf("%s\n%v", c.line, err)
		}
	}
	line := strings.Repeat("1, ", maxFields) + "1"
	if err := message("Result activity=1 type=progress fields=[" + line + "]"); err == nil || !strings.Contains(err.Error(), "more than 1024 elements") {
		t.Error(err)
	}
}

// A truncated line is an error, unless it ends within a number, and never causes a panic.
func TestTraceBeginnings(t *testing.T) {
	for _, p := range []Params{{Version: MakeVersion(21), Dir: testDir}, {Version: MaxVersion, Features: AllFeatures | BuildFeatures, Dir: testDir}} {
		for _, row := range Operations() {
			req := row.request()
			newFiller(1).fill(req)
			line := p.TraceRequest(req, -1)
			if _, err := p.ParseTraceRequest(line); err != nil {
				continue
			}
			for n := range line {
				got, err := p.ParseTraceRequest(line[:n])
				if err == nil && p.TraceRequest(got, -1) != line[:n] { // a shorter number is valid too
					t.Errorf("%s is read as %s", line[:n], show(got))
				}
			}
		}
	}
}

// traceSeeds adds the traces of generated values to the corpus.
func traceSeeds(f *testing.F) {
	for _, n := range seedParams() {
		p := fuzzParams(n)
		for _, row := range Operations() {
			req, reply := row.request(), row.reply()
			newFiller(1).fill(req)
			newFiller(1).fill(reply)
			f.Add(n, p.TraceRequest(req, -1))
			f.Add(n, p.TraceReply(row.Op, reply, -1))
		}
		for seed := range uint64(16) {
			var m Message
			newFiller(seed).fill(&m)
			f.Add(n, p.TraceMessage(m, -1))
		}
		f.Add(n, p.TraceGreeting(Greeting{DaemonVersion: MaxVersion}))
	}
	f.Add(uint8(0), TraceData([]byte("\x00\xff"), 1))
}

// A value that is read from any text is shown as a line with the same value, and can be sent.
func FuzzTrace(f *testing.F) {
	traceSeeds(f)
	f.Fuzz(func(t *testing.T, n uint8, line string) {
		p := fuzzParams(n)
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		req, err1 := p.ParseTraceRequest(line)
		op, reply, err2 := p.ParseTraceReply(line)
		m, err3 := p.ParseTraceMessage(line)
		q, g, err4 := ParseTraceGreeting(line)
		b, err5 := ParseTraceData(line)
		checkMemory(t, len(line), &before)
		for _, err := range []error{err1, err2, err3, err4, err5} {
			var e *TraceError
			if err != nil && (!errors.As(err, &e) || e.Column < 1 || e.Column > len(line)+1) {
				t.Fatalf("%T: %v", err, err)
			}
		}
		if err1 == nil {
			line := p.TraceRequest(req, -1)
			got, err := p.ParseTraceRequest(line)
			sameTrace(t, line, got, req, func() string { return p.TraceRequest(got, -1) }, err)
			b, err := p.AppendRequest(nil, req)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := p.ReadRequest(reader(b)); err != nil || !reflect.DeepEqual(got, req) {
				t.Fatalf("sent, it is %s instead of %s, %v", show(got), show(req), err)
			}
		}
		if err2 == nil {
			line := p.TraceReply(op, reply, -1)
			_, got, err := p.ParseTraceReply(line)
			sameTrace(t, line, got, reply, func() string { return p.TraceReply(op, got, -1) }, err)
			b, err := p.AppendReply(nil, op, reply)
			if err != nil {
				t.Fatal(err)
			}
			sent := NewReply(op)
			if err := p.ReadReply(reader(b), op, sent); err != nil || !reflect.DeepEqual(sent, reply) {
				t.Fatalf("sent, it is %s instead of %s, %v", show(sent), show(reply), err)
			}
		}
		if err3 == nil {
			line := p.TraceMessage(m, -1)
			got, err := p.ParseTraceMessage(line)
			sameTrace(t, line, got, m, func() string { return p.TraceMessage(got, -1) }, err)
			b, err := p.AppendMessage(nil, m)
			if err != nil {
				t.Fatal(err)
			}
			in := reader(b)
			if got, err := p.ReadMessage(in); err != nil || in.Peek() != io.EOF || !reflect.DeepEqual(got, m) {
				t.Fatalf("sent, it is %s instead of %s, %v", show(got), show(m), err)
			}
		}
		if err4 == nil {
			line := q.TraceGreeting(g)
			gotQ, got, err := ParseTraceGreeting(line)
			sameTrace(t, line, []any{gotQ, got}, []any{q, g}, func() string { return gotQ.TraceGreeting(got) }, err)
		}
		if err5 == nil {
			got, err := ParseTraceData(TraceData(b, -1))
			if err != nil || !slices.Equal(got, b) {
				t.Fatalf("%q, %v instead of %q", got, err, b)
			}
		}
	})
}
