package main

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"pix/internal/redact"
	"pix/localstore"
	"pix/store"
)

// chosen is what daemon-info prints of every store.
type chosen struct {
	Store  string  `json:"store"`  // its URI
	Reason *string `json:"reason"` // why it is that one; null if it was named
}

// chosen says which store was opened last, and why.
func (a *app) chosen() chosen { return chosen{redact.URL(a.resolved), orNull(a.reason)} }

func (c chosen) text() string {
	reason := "it was named"
	if c.Reason != nil {
		reason = *c.Reason
	}
	return fmt.Sprintf("store: %s\nreason: %s\n", c.Store, reason)
}

// localInfo is what daemon-info prints of a store that is opened without a daemon.
type localInfo struct {
	chosen
	StoreDir string `json:"storeDir"`
	Objects  string `json:"objectDir"` // where what is in StoreDir is
	StateDir string `json:"stateDir"`
	LogDir   string `json:"logDir"`
	Schema   *int   `json:"schema"` // of the database; null if the store does not exist yet
	ReadOnly bool   `json:"readOnly"`
}

// localInfo prints where a store is. It may not exist yet.
func (a *app) localInfo(i localstore.Info, exists, asJSON bool) error {
	info := localInfo{a.chosen(), string(i.Dir), i.StoreDir, i.StateDir, i.LogDir, nil, a.isReadOnly()}
	schema := "none, since nothing was added yet"
	if exists {
		info.Schema, schema = &i.Schema, strconv.Itoa(i.Schema)
		info.ReadOnly = info.ReadOnly || !i.Writable
	}
	text := info.text() + fmt.Sprintf("store-dir: %s\nobject-dir: %s\nstate-dir: %s\nlog-dir: %s\nschema: %s\nread-only: %t\n",
		info.StoreDir, info.Objects, info.StateDir, info.LogDir, schema, info.ReadOnly)
	return a.printEither(text, info, asJSON)
}

// isReadOnly reports whether the URI of the store that was opened last says that nothing may be written to it.
func (a *app) isReadOnly() bool {
	_, query, _ := strings.Cut(a.resolved, "?")
	values, _ := url.ParseQuery(query) // the store was opened, so there is no error
	return slices.Contains([]string{"true", "yes", "1"}, values.Get("read-only"))
}

// otherInfo prints what there is to say of a store that is neither a daemon nor in a directory,
// such as a binary cache.
func (a *app) otherInfo(s store.Store, asJSON bool) error {
	info := struct {
		chosen
		StoreDir string `json:"storeDir"`
	}{a.chosen(), string(s.Dir())}
	return a.printEither(info.text()+fmt.Sprintf("store-dir: %s\n", info.StoreDir), info, asJSON)
}
