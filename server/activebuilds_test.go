package server_test

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"

	"pix/protocol"
	"pix/server"
	"pix/store"
	"pix/store/memstore"
	"pix/storepath"
)

// A buildingStore is a store with running builds.
type buildingStore struct {
	store.Store
	builds []store.ActiveBuild
}

func (s *buildingStore) QueryActiveBuilds(context.Context) ([]store.ActiveBuild, error) {
	return s.builds, nil
}

// Every client gets the running builds, in the JSON of Determinate Nix.
func TestQueryActiveBuilds(t *testing.T) {
	cpu, pid := 1500*time.Millisecond, 7
	builds := []store.ActiveBuild{{
		Derivation: "/nix/store/00000000000000000000000000000000-x.drv", Start: time.Unix(1_700_000_000, 0),
		PID: 12, Owner: 11, User: store.User{UID: 30001, Name: "nixbld1"}, ClientPID: &pid, Phase: "buildPhase",
		Processes: []store.ActiveProcess{{PID: 12, Parent: 11, User: store.User{UID: 30001}, Args: []string{"bash", "-e"}, CPUUser: &cpu}},
	}}
	const want = `[{"type":"build","derivation":"00000000000000000000000000000000-x.drv","startTime":1700000000,"nixPid":11,"mainPid":12,` +
		`"mainUser":{"uid":30001,"name":"nixbld1"},"clientPid":7,"clientUid":null,"cgroup":null,"phase":"buildPhase",` +
		`"processes":[{"pid":12,"parentPid":11,"user":{"uid":30001,"name":null},"argv":["bash","-e"],"utime":1.5,"stime":null,"cutime":null,"cstime":null}],` +
		`"utime":null,"stime":null}]`
	for _, c := range []struct {
		builds []store.ActiveBuild
		want   string
	}{{builds, want}, {nil, "[]"}} {
		conn := dial(t, &buildingStore{memstore.New(nil), c.builds}, &server.Options{})
		reply, err := conn.ask(new(protocol.QueryActiveBuildsRequest), nil)
		if err != nil {
			t.Fatal(err)
		}
		text := reply.(*protocol.QueryActiveBuildsReply).JSON
		if text != c.want {
			t.Errorf("got  %s\nwant %s", text, c.want)
		}
		back, err := store.ParseActiveBuildsJSON(storepath.DefaultDir, []byte(text))
		if err != nil || len(back) != len(c.builds) || len(back) > 0 && !reflect.DeepEqual(back, c.builds) {
			t.Errorf("got %+v, %v", back, err)
		}
		conn.hangUp()
	}
	conn := dial(t, struct{ store.Store }{memstore.New(nil)}, nil)
	if conn.params.Features.Has(protocol.ActiveBuilds) {
		t.Error("a store without builds offers the feature")
	}
	for _, bad := range []string{"", "null x", `[{}]`, `[{"type":"build","derivation":"x"}]`, "[" + strings.Repeat("{},", 1<<18) + "{}]"} {
		if _, err := store.ParseActiveBuildsJSON(storepath.DefaultDir, []byte(bad)); err == nil {
			t.Errorf("%.40q is accepted", bad)
		}
	}
}
