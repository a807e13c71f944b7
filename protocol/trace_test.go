package protocol

import (
	"strings"
	"testing"
	"time"

	"pix/activity"
	"pix/derivation"
	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

func TestTrace(t *testing.T) {
	p := Params{Version: MaxVersion, Features: AllFeatures, Dir: testDir}
	dev := testPath + "-dev"
	long := strings.Repeat("x", 100)
	hash := nixhash.Sum(nixhash.SHA256, nil)
	cpu := 2 * time.Millisecond
	for _, c := range []struct{ got, want string }{
		{p.TraceRequest(&QueryValidPathsRequest{Paths: []storepath.Path{testPath, dev}}, TraceBody),
			"QueryValidPaths paths=[" + string(testPath) + ", " + string(dev) + "] substitute=false"},
		{p.TraceRequest(&AddTextToStoreRequest{Name: "a", Contents: long}, 4),
			`AddTextToStore name=a contents="xxxx"…(100 bytes) references=[]`},
		{p.TraceRequest(&AddTextToStoreRequest{Name: "a", Contents: long}, -1),
			"AddTextToStore name=a contents=" + long + " references=[]"},
		{p.TraceRequest(&IsValidPathRequest{"nonsense"}, TraceBody),
			`IsValidPath (worker protocol, IsValidPath request: path: "nonsense" is not valid: it is not in the store directory /nix/store)`},
		{p.TraceRequest(&SetOptionsRequest{Verbosity: activity.LevelInfo, VerboseBuild: true, Overrides: map[string]string{"cores": "", "a": "b c"}}, TraceBody),
			`SetOptions keep-failed=false keep-going=false fallback=false verbosity=info max-jobs=0 max-silent-time=0 verbose-build=true cores=0 substitute=false overrides=[name=a value="b c", name=cores value=""]`},
		{p.TraceRequest(&CollectGarbageRequest{store.GCOptions{Action: store.GCDeleteDead, MaxFreed: 1}}, TraceBody),
			"CollectGarbage action=delete-dead whole-store=true ignore-liveness=false max-freed=1"},
		{p.TraceRequest(&AddBuildLogRequest{testPath}, TraceBody), "AddBuildLog path=" + string(testPath)},
		{p.TraceRequest(&BuildPathsRequest{Paths: []derivation.DerivedPath{derivation.Built{Drv: derivation.Opaque{Path: testPath + ".drv"}, Outputs: derivation.NamedOutputs("a", "b")}}}, TraceBody),
			`BuildPaths paths=[derived-path="` + string(testPath) + `.drv^a,b"] build-mode=normal`},
		{p.TraceReply(IsValidPath, &IsValidPathReply{true}, TraceBody), "IsValidPath valid=true"},
		{p.TraceReply(BuildPaths, &Ack{}, TraceBody), "BuildPaths"},
		{p.TraceReply(QueryPathInfo, &QueryPathInfoReply{&store.PathInfo{NARHash: hash, NARSize: 5, Signatures: []string{"k:AA=="}}}, TraceBody),
			`QueryPathInfo valid=true deriver="" NAR-hash=` + hash.Base16() + ` references=[] registration-time=0 NAR-size=5 ultimate=false signatures=[k:AA==] content-address=""`},
		{p.TraceReply(BuildDerivation, &BuildDerivationReply{store.BuildResult{CPUUser: &cpu, Outputs: map[string]store.Realisation{"out": {OutPath: testPath}}}}, TraceBody),
			`BuildDerivation status=Built error-message="" times-built=0 is-non-deterministic=false start-time=0 stop-time=0 user-CPU-time=2000 system-CPU-time=none built-outputs=[name=out output-path=` + string(testPath) + ` signatures=[]]`},
		{p.TraceMessage(Message{Kind: MessageLast}, TraceBody), "Last"},
		{p.TraceMessage(Message{Kind: MessageLog, Event: activity.Log{Text: "a line"}}, TraceBody), `Log text="a line"`},
		{p.TraceMessage(Message{Kind: MessageWrite, Data: []byte(long)}, 2), `Write data="xx"…(100 bytes)`},
		{p.TraceMessage(Message{Kind: MessageEvent, Event: activity.Result{ID: 7, Type: activity.Progress, Fields: []activity.Field{activity.Number(1), activity.Text("\n")}}}, TraceBody),
			`Result activity=7 type=progress fields=[1, "\n"]`},
		{p.TraceMessage(Message{Kind: MessageEvent, Event: activity.Result{Fields: []activity.Field{activity.Number(7), activity.Text("7"), activity.Text("xxx")}}}, 2),
			`Result activity=0 type="ResultType(0)" fields=[7, "7", "xx"…(3 bytes)]`},
		{p.TraceRequest(&SubmitOutputRequest{Path: derivation.SingleBuilt{Drv: derivation.Opaque{Path: testPath + ".drv"}, Output: "a^b"}, Output: "out"}, TraceBody),
			"SubmitOutput path=" + string(testPath) + `.drv outputs-of-it=[a^b] output=out (the daemon does not support operation SubmitOutput: it lacks the feature submit-output)`},
		{p.TraceGreeting(Greeting{DaemonVersion: MaxVersion, NixVersion: "2.34.8", Trust: NotTrusted}),
			`greeting version=1.38 negotiated=1.38 features=[addTempRoots, delete-dead-specific-referrers, queryActiveBuilds, queryPathInfos, realisation-with-path-not-hash] store-dir=/nix/store nix=2.34.8 trust="not trusted"`},
		{TraceClosed(true, "it has\nended"), `closed by=daemon why="it has\nended"`},
		{TraceData([]byte("\x00x "), 2), `body data="\x00x"…(3 bytes)`},
		{p.TraceMessage(Message{Kind: MessageError, Err: &activity.Error{Message: "no", Traces: []string{"while"}}}, TraceBody),
			"Error level=error message=no traces=[while]"},
	} {
		if c.got != c.want {
			t.Errorf("\n%s\ninstead of\n%s", c.got, c.want)
		}
	}
}

// The trace of every value is a single line.
func TestTraceAll(t *testing.T) {
	p := Params{Version: MaxVersion, Features: RealisationWithPath | OutputSubmission | Scanning | TempRoots | PathInfos | ActiveBuilds, Dir: testDir}
	for _, row := range Operations() {
		for seed := range uint64(4) {
			req, reply := row.request(), row.reply()
			newFiller(seed).fill(req)
			newFiller(seed).fill(reply)
			for _, line := range []string{p.TraceRequest(req, TraceBody), p.TraceReply(row.Op, reply, TraceBody)} {
				unsupported := strings.Contains(line, "(the daemon does not support")
				if !strings.HasPrefix(line, row.Name) || strings.ContainsAny(line, "\n\x00") || strings.Contains(line, "(worker protocol") || unsupported && row.Op != CollectGarbage {
					t.Errorf("%q", line)
				}
			}
		}
	}
}
