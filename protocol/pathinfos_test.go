package protocol

import (
	"testing"

	"pix/nixhash"
	"pix/store"
)

// A reply with more path infos than requested paths is an error.
func TestPathInfosLimit(t *testing.T) {
	p := Params{Version: MaxVersion, Features: AllFeatures, Dir: testDir}
	info := store.PathInfo{Path: testPath, NARHash: nixhash.Sum(nixhash.SHA256, nil), NARSize: 1}
	wire, err := p.AppendReply(nil, QueryPathInfos, &QueryPathInfosReply{Infos: []store.PathInfo{info, info}})
	if err != nil {
		t.Fatal(err)
	}
	for limit, ok := range map[int]bool{0: true, 1: false, 2: true} {
		reply := new(QueryPathInfosReply)
		reply.Limit(limit)
		if err := p.ReadReply(reader(wire), QueryPathInfos, reply); (err == nil) != ok {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}
