package main

import (
	"fmt"

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
	Schema   int    `json:"schema"` // of the database
	ReadOnly bool   `json:"readOnly"`
}

func (a *app) localInfo(s *localstore.Store, asJSON bool) error {
	i := s.Info()
	info := localInfo{a.chosen(), string(i.Dir), i.StoreDir, i.StateDir, i.LogDir, i.Schema, i.ReadOnly}
	text := info.text() + fmt.Sprintf("store-dir: %s\nobject-dir: %s\nstate-dir: %s\nlog-dir: %s\nschema: %d\nread-only: %t\n",
		info.StoreDir, info.Objects, info.StateDir, info.LogDir, info.Schema, info.ReadOnly)
	return a.printEither(text, info, asJSON)
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
