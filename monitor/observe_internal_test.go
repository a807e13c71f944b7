package monitor

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"

	"pix/activity"
	"pix/nixhash"
	"pix/protocol"
	"pix/storepath"
	"pix/wire"
)

// A sent is a part of a conversation.
type sent struct {
	from Direction
	b    []byte
}

// observe gives the parts of a conversation to an observer, and returns the events. It checks that
// the memory of the decoders was given back.
func observe(t testing.TB, parts []sent) []*Event {
	t.Helper()
	var events []*Event
	m := &Monitor{Handle: func(e *Event) { events = append(events, e) }}
	tap := newTap(&m.memory, maxQueued, false)
	o := newObserver(m, 1, tap, nil)
	var b batch
	for _, p := range parts {
		tap.push(p.from, p.b)
		if len(p.b)%2 == 0 { // else with the next part
			b = o.step(b)
		}
	}
	tap.end(FromClient, nil)
	tap.end(FromDaemon, nil)
	o.m.memory.release(o.step(b).size())
	o.finish()
	if used := m.memory.used.Load(); used != 0 {
		t.Errorf("%d bytes of memory were not given back", used)
	}
	return events
}

const somePath = storepath.Path("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-hello")

// A script makes a conversation.
type script struct {
	t      testing.TB
	params protocol.Params
	parts  []sent
}

func (s *script) send(from Direction, b []byte) { s.parts = append(s.parts, sent{from, b}) }

// newScript returns a script that begins with a handshake.
func newScript(t testing.TB, version protocol.Version) *script {
	s := &script{t: t, params: protocol.Params{Version: version, Dir: storepath.DefaultDir}}
	var features []byte
	if version >= protocol.FeatureVersion {
		features = wire.AppendStrings(nil, []string{"addTempRoots"})
		s.params.Features = protocol.TempRoots
	}
	s.send(FromClient, wire.AppendUint64(wire.AppendUint64(nil, 0x6e697863), uint64(protocol.MaxVersion)))
	s.send(FromDaemon, wire.AppendUint64(wire.AppendUint64(nil, 0x6478696f), uint64(version)))
	s.send(FromClient, append(bytes.Clone(features), make([]byte, 16)...))
	greeting := features
	if version >= protocol.MakeVersion(33) {
		greeting = wire.AppendString(greeting, "2.34.8")
	}
	if version >= protocol.MakeVersion(35) {
		greeting = wire.AppendUint64(greeting, uint64(protocol.NotTrusted))
	}
	s.send(FromDaemon, greeting)
	s.message(protocol.Message{Kind: protocol.MessageLast})
	return s
}

func (s *script) request(r protocol.Request) {
	b, err := s.params.AppendRequest(nil, r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.send(FromClient, b)
}

func (s *script) message(m protocol.Message) {
	b, err := s.params.AppendMessage(nil, m)
	if err != nil {
		s.t.Fatal(err)
	}
	s.send(FromDaemon, b)
}

func (s *script) reply(op protocol.Op, r protocol.Reply) {
	s.message(protocol.Message{Kind: protocol.MessageLast})
	b, err := s.params.AppendReply(nil, op, r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.send(FromDaemon, b)
}

// archive returns an archive with the structure of a directory.
func archive() []byte {
	var b []byte
	for _, word := range []string{
		"nix-archive-1", "(", "type", "directory", "entry", "(", "name", ")", "node", "(", "type", "regular", "executable", "", "contents", strings.Repeat("(", 10000), ")", ")",
		"entry", "(", "name", "x", "node", "(", "type", "symlink", "target", ")", ")", ")", ")",
	} {
		b = wire.AppendString(b, word)
	}
	return b
}

// conversationOf returns a conversation with operations of all kinds.
func conversationOf(t testing.TB, version protocol.Version) []sent {
	s := newScript(t, version)
	s.request(&protocol.IsValidPathRequest{Path: somePath})
	s.request(&protocol.QueryReferrersRequest{Path: somePath}) // pipelined
	s.reply(protocol.IsValidPath, &protocol.IsValidPathReply{Valid: true})
	s.reply(protocol.QueryReferrers, &protocol.PathsReply{Paths: []storepath.Path{somePath}})
	s.request(&protocol.EnsurePathRequest{Path: somePath})
	s.message(protocol.Message{Kind: protocol.MessageLog, Event: activity.Log{Text: "working"}})
	s.message(protocol.Message{Kind: protocol.MessageError, Err: &activity.Error{Message: "it failed"}})
	s.request(&protocol.NarFromPathRequest{Path: somePath})
	s.reply(protocol.NarFromPath, new(protocol.None))
	s.send(FromDaemon, archive())
	upload := &protocol.AddToStoreNarRequest{}
	upload.Info.Path, upload.Info.NARHash = somePath, nixhash.Sum(nixhash.SHA256, archive())
	s.request(upload)
	row, _ := protocol.Lookup(protocol.AddToStoreNar)
	switch row.Body(s.params) {
	case protocol.NARBody:
		s.send(FromClient, archive())
	case protocol.AskedBody:
		for range 3 {
			s.message(protocol.Message{Kind: protocol.MessageRead, Want: 1000})
			s.send(FromClient, wire.AppendString(nil, strings.Repeat("x", 999)))
		}
	case protocol.FramedBody:
		for _, n := range []int{1, 8, 5000} {
			s.send(FromClient, append(wire.AppendUint64(nil, uint64(n)), make([]byte, n)...))
		}
		s.send(FromClient, wire.AppendUint64(nil, 0))
	}
	s.reply(protocol.AddToStoreNar, new(protocol.None))
	s.request(&protocol.SyncWithGCRequest{})
	s.reply(protocol.SyncWithGC, new(protocol.Ack))
	return s.parts
}

var conversationVersions = []protocol.Version{protocol.MinVersion, protocol.MakeVersion(21), protocol.MakeVersion(34), protocol.MaxVersion}

const conversationOperations = "IsValidPath QueryReferrers EnsurePath NarFromPath AddToStoreNar SyncWithGC"

// names returns the names of the operations that have a result, and the number of raw events.
func names(events []*Event) (list []string, raw int) {
	for _, e := range events {
		switch {
		case e.Operation != nil && e.Operation.Unfinished == "":
			list = append(list, e.Operation.Name)
		case e.Raw != nil:
			raw++
		}
	}
	return list, raw
}

// The events do not depend on the pieces in which the bytes arrive.
func TestPieces(t *testing.T) {
	for _, version := range conversationVersions {
		parts := conversationOf(t, version)
		for _, size := range []int{1, 3, 8, 1000, 1 << 20} {
			var pieces []sent
			for _, p := range parts {
				for b := p.b; len(b) > 0; {
					n := min(size, len(b))
					pieces = append(pieces, sent{p.from, b[:n]})
					b = b[n:]
				}
			}
			events := observe(t, pieces)
			list, raw := names(events)
			if got := strings.Join(list, " "); got != conversationOperations || raw > 0 {
				t.Errorf("%s in pieces of %d: %s, %d raw events: %v", version, size, got, raw, events)
			}
			checkSizes(t, parts, events)
		}
	}
}

// checkSizes checks that the sizes of the operations add up to the bytes after the handshake.
func checkSizes(t *testing.T, parts []sent, events []*Event) {
	t.Helper()
	var want, got [2]int64
	for i, p := range parts {
		if i >= 5 {
			want[p.from] += int64(len(p.b))
		}
	}
	for _, e := range events {
		if e.Operation != nil {
			got[FromClient] += e.Operation.Up
			got[FromDaemon] += e.Operation.Down
		}
	}
	if got != want {
		t.Errorf("the operations have %d bytes up and down, want %d", got, want)
	}
}

// newRandom returns random numbers, and logs their seed.
func newRandom(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	t.Log("seed", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// A conversation that ends at any byte has its earlier operations, and no raw part.
func TestCuts(t *testing.T) {
	random := newRandom(t)
	for _, version := range conversationVersions {
		parts := conversationOf(t, version)
		total := 0
		for _, p := range parts {
			total += len(p.b)
		}
		for cut := 0; cut < total; cut += 1 + random.IntN(1+total/150) {
			var pieces []sent
			left := cut
			for _, p := range parts {
				n := min(left, len(p.b))
				pieces = append(pieces, sent{p.from, p.b[:n]})
				left -= n
			}
			events := observe(t, pieces)
			list, raw := names(events)
			if !strings.HasPrefix(conversationOperations, strings.Join(list, " ")) || raw > 0 {
				t.Errorf("%s, cut at %d: %s, %d raw events: %v", version, cut, list, raw, events)
			}
			if last := events[len(events)-1]; last.Close == nil {
				t.Errorf("%s, cut at %d: the last event is %v", version, cut, last)
			}
		}
	}
}

// A connection that the monitor does not understand becomes raw, and the earlier operations are shown.
func TestRaw(t *testing.T) {
	unknownFeature := newScript(t, protocol.MaxVersion).parts[:3]
	unknownFeature[2].b = append(wire.AppendStrings(nil, []string{"new"}), make([]byte, 16)...)
	unknownFeature = append(unknownFeature, sent{FromDaemon, wire.AppendStrings(nil, []string{"new"})}, sent{FromClient, make([]byte, 100)})
	newer := newScript(t, protocol.MaxVersion).parts
	newer[0].b = wire.AppendUint64(wire.AppendUint64(nil, 0x6e697863), uint64(protocol.MaxVersion)+1)
	newer[1].b = wire.AppendUint64(wire.AppendUint64(nil, 0x6478696f), uint64(protocol.MaxVersion)+1)
	after := func(more ...sent) []sent { return append(conversationOf(t, protocol.MaxVersion), more...) }
	for name, c := range map[string]struct {
		parts  []sent
		reason string
		names  string
	}{
		"garbage":   {[]sent{{FromClient, []byte("GET / HTTP/1.1\r\n\r\n")}, {FromDaemon, []byte("HTTP/1.1 400 Bad Request\r\n")}}, "magic number", ""},
		"operation": {after(sent{FromClient, wire.AppendUint64(nil, 9999)}, sent{FromClient, make([]byte, 100000)}, sent{FromDaemon, []byte("x")}), "Op(9999)", conversationOperations},
		"feature":   {unknownFeature, "new", ""},
		"version":   {newer, "1.39", ""},
		"message":   {after(sent{FromDaemon, wire.AppendUint64(nil, 12345)}), "12345", conversationOperations},
		"reply":     {after(sent{FromDaemon, wire.AppendUint64(nil, uint64(protocol.MessageLast))}), "without a request", conversationOperations},
		"path":      {after(sent{FromClient, wire.AppendString(wire.AppendUint64(nil, 1), "\x1b[31m/nix/store")}), "path", conversationOperations},
	} {
		events := observe(t, c.parts)
		list, raw := names(events)
		if got := strings.Join(list, " "); got != c.names || raw == 0 {
			t.Errorf("%s: %s, %d raw events", name, got, raw)
		}
		found := false
		for _, e := range events {
			found = found || e.Raw != nil && strings.Contains(strings.ReplaceAll(e.Raw.Reason, "0x3039", "12345"), c.reason)
			checkLine(t, e.String())
		}
		if !found {
			t.Errorf("%s: no event has the reason %q: %v", name, c.reason, events)
		}
	}
}

// checkLine checks that a line cannot control a terminal.
func checkLine(t testing.TB, line string) {
	t.Helper()
	if i := strings.IndexFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("%q has the character %q", line, line[i:])
	}
}

// Nothing that a client or a daemon can choose gets unescaped into a line.
func TestHostileText(t *testing.T) {
	const evil = "\x1b]0;title\a\r\n15:04:05.000000 9 forged\u202e\u2028\x9b31m\xff"
	for _, e := range []*Event{
		{Client: &Client{PID: 1, User: evil, Command: []string{evil, "", strings.Repeat(evil, 1000)}}},
		{Failure: &Failure{Reason: evil}},
		{Handshake: &Handshake{Nix: evil, ClientFeatures: []string{evil}, Error: evil, Trust: "unknown"}},
		{Operation: &Operation{Name: "IsValidPath", Request: evil, Reply: strings.Repeat(evil, 100)}},
		{Operation: &Operation{Name: "IsValidPath", Error: evil}},
		{Raw: &Raw{Reason: evil}},
		{Raw: &Raw{Start: []byte(evil), Size: 99}},
		{Close: &Close{Reason: evil}},
	} {
		line := e.String()
		checkLine(t, line)
		if len(line) > 5*maxLine {
			t.Errorf("the line has %d bytes", len(line))
		}
		if strings.Contains(line, "\n") {
			t.Errorf("%q has two lines", line)
		}
	}
}

// If the memory of all connections is used up, a connection with a large value becomes raw.
func TestMemoryIsLimited(t *testing.T) {
	s := newScript(t, protocol.MaxVersion)
	var paths []storepath.Path
	for i := range 5000 {
		path, err := storepath.DefaultDir.Parse(fmt.Sprintf("%s-%05d", somePath, i))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	s.request(&protocol.QueryValidPathsRequest{Paths: paths})
	for _, free := range []int{1 << 20, 100 << 10} {
		var raw int
		m := &Monitor{Handle: func(e *Event) {
			if e.Raw != nil {
				raw++
			}
		}}
		m.memory.acquire(maxMemory - free)
		tap := newTap(&m.memory, maxQueued, false)
		o := newObserver(m, 1, tap, nil)
		for _, p := range s.parts {
			for b := range slices.Chunk(p.b, 1000) {
				o.process(batch{[]piece{{dir: p.from, size: int64(len(b)), held: len(b)}}, b})
			}
		}
		o.finish()
		if (raw > 0) != (free < 400<<10) {
			t.Errorf("%d bytes were free: %d raw events", free, raw)
		}
		if used := m.memory.used.Load(); used != int64(maxMemory-free) {
			t.Errorf("%d bytes of memory are used, want %d", used, maxMemory-free)
		}
	}
}

// Arbitrary bytes in arbitrary pieces never crash the observer, nor leave memory behind.
func FuzzObserver(f *testing.F) {
	for _, version := range conversationVersions {
		var b []byte
		for _, p := range conversationOf(f, version) {
			for part := p.b; len(part) > 0; {
				n := min(len(part), 255)
				b = append(append(b, byte(p.from), byte(n)), part[:n]...)
				part = part[n:]
			}
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var parts []sent
		for len(b) >= 2 {
			from, n := Direction(b[0]&1), min(int(b[1]), len(b)-2)
			parts = append(parts, sent{from, b[2 : 2+n]})
			b = b[2+n:]
		}
		for _, e := range observe(t, parts) {
			checkLine(t, e.String())
			if e.Raw != nil && strings.HasPrefix(e.Raw.Reason, "panic") {
				t.Error(e)
			}
		}
	})
}

// A conversation with wrong bits anywhere does not crash the observer.
func TestDamage(t *testing.T) {
	random := newRandom(t)
	for range 1000 {
		parts := conversationOf(t, conversationVersions[random.IntN(len(conversationVersions))])
		for range 1 + random.IntN(4) {
			if b := parts[random.IntN(len(parts))].b; len(b) > 0 {
				b[random.IntN(len(b))] ^= 1 << random.IntN(8)
			}
		}
		for _, e := range observe(t, parts) {
			if e.Raw != nil && strings.HasPrefix(e.Raw.Reason, "panic") {
				t.Fatal(e)
			}
		}
	}
}
