package localstore

import (
	"fmt"
	"slices"
	"testing"

	"pix/closure"
	"pix/store"
	"pix/storepath"
)

// chainPath returns path i of fillChain.
func chainPath(i int) storepath.Path {
	return storepath.Path(fmt.Sprintf("/nix/store/%032d-a-usual-name-%d", i, i))
}

// fillChain registers n paths with derivers and signatures, without objects. Path i refers to itself and to the paths
// before it at the distances 1, 8, 27, 64 and 125, so the closure of the last one has them all.
func fillChain(t testing.TB, s *Store, n int) {
	t.Helper()
	err := s.write(t.Context(), func(c *conn) error {
		err := c.exec(`
			with recursive numbers(i) as (select 0 union all select i + 1 from numbers where i + 1 < ?)
			insert into ValidPaths (path, hash, registrationTime, deriver, narSize, sigs)
			select printf('/nix/store/%032d-a-usual-name-%d', i, i), ?, 1, printf('/nix/store/%032d-a-usual-name-%d.drv', i, i), 1112, ?
			from numbers`, int64(n), noHash.WithBase16(),
			"cache.example.org-1:OzjF7MvtNiB4gDbyDOWDzmJUTEGJf0kOfVmoBoH9zcBrDOWgfCm1xIVA5Whh0nHhVXjPSnaN5SEYoXSX+bgzCg==")
		if err != nil {
			return err
		}
		return c.exec(`
			insert into Refs (referrer, reference)
			select id, id - distance from ValidPaths, (select 0 as distance union select 1 union select 8 union select 27 union select 64 union select 125)
			where id - distance >= (select min(id) from ValidPaths) order by id`)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A query for all infos returns the same infos as a query for each path.
func TestQueryAllPathInfos(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	fillChain(t, s, 1200)
	if err := s.write(t.Context(), func(c *conn) error { // a gap in the ids
		return c.exec("delete from ValidPaths where path = ?", string(chainPath(1199)))
	}); err != nil {
		t.Fatal(err)
	}
	if n, err := s.CountValidPaths(t.Context()); n != 1199 || err != nil {
		t.Errorf("CountValidPaths returned %d, %v", n, err)
	}
	n := 0
	for info, err := range s.QueryAllPathInfos(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		want, err := s.QueryPathInfo(t.Context(), info.Path)
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprintf("%+v", info) != fmt.Sprintf("%+v", want) {
			t.Fatalf("%+v\nwant\n%+v", info, want)
		}
		n++
	}
	if n != 1199 {
		t.Errorf("%d infos", n)
	}
	for range s.QueryAllPathInfos(t.Context()) { // may end early
		break
	}
}

// A path that was deleted after the paths were listed is left out, and a reference to a path that was added
// afterwards is resolved.
func TestQueryAllPathInfosOfChange(t *testing.T) {
	s := open(t, Options{Root: t.TempDir()})
	fillChain(t, s, 1200)
	var infos []*store.PathInfo
	for info, err := range s.QueryAllPathInfos(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if infos = append(infos, info); len(infos) > 1 {
			continue
		}
		// The rest of the first part has been read, and the last paths have not.
		err := s.write(t.Context(), func(c *conn) error {
			if err := c.exec("delete from Refs where reference = (select id from ValidPaths where path = ?)", string(chainPath(1198))); err != nil {
				return err
			}
			if err := c.exec("delete from ValidPaths where path = ?", string(chainPath(1198))); err != nil {
				return err
			}
			if err := c.exec("insert into ValidPaths (path, hash, registrationTime, narSize) values (?, ?, 1, 1)", string(chainPath(6000)), noHash.WithBase16()); err != nil {
				return err
			}
			return c.exec("insert into Refs (referrer, reference) values ((select id from ValidPaths where path = ?), ?)", string(chainPath(1199)), c.lastID())
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	last := infos[len(infos)-1]
	if len(infos) != 1199 || last.Path != chainPath(1199) || !slices.Contains(last.References, chainPath(6000)) {
		t.Errorf("%d infos, the last is %+v", len(infos), last)
	}
	c, err := closure.LoadAll(t.Context(), s)
	if err != nil || c.Len() != 1200 {
		t.Errorf("LoadAll returned %v, %v", c, err)
	}
}
