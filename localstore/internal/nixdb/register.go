package nixdb

import (
	"slices"
	"strings"

	"pix/nixhash"
	"pix/store"
	"pix/storepath"
)

// InsertPath makes a path valid and returns its id. If the path is already valid, it reports false.
func (c *Conn) InsertPath(info *store.PathInfo) (id int64, added bool, err error) {
	err = c.Exec(`insert or ignore into ValidPaths (path, hash, registrationTime, deriver, narSize, ultimate, sigs, ca)
		values (?, ?, ?, ?, ?, ?, ?, ?)`,
		string(info.Path), info.NARHash.WithBase16(), info.RegistrationTime.Unix(), orNull(string(info.Deriver)),
		sizeOrNull(info.NARSize), ultimateOrNull(info.Ultimate), orNull(JoinSignatures(info.Signatures)), orNull(info.CA.String()))
	if err != nil || c.Changes() == 0 {
		return 0, false, err
	}
	return c.LastID(), true, nil
}

// InsertReference adds a reference of a path to another one. It reports whether the other one is valid. If not, it adds
// nothing.
func (c *Conn) InsertReference(referrer int64, reference storepath.Path) (valid bool, err error) {
	err = c.Exec("insert or ignore into Refs (referrer, reference) values (?, (select id from ValidPaths where path = ?))", referrer, string(reference))
	if err != nil || c.Changes() > 0 {
		return true, err
	}
	_, valid, err = c.PathID(reference) // the reference may already exist
	return valid, err
}

// UpdatePath replaces the info of a valid path, except its deriver, its references and the time of its
// registration.
func (c *Conn) UpdatePath(info *store.PathInfo) error {
	return c.Exec("update ValidPaths set narSize = ?, hash = ?, ultimate = ?, sigs = ?, ca = ? where path = ?",
		sizeOrNull(info.NARSize), info.NARHash.WithBase16(), ultimateOrNull(info.Ultimate),
		orNull(JoinSignatures(info.Signatures)), orNull(info.CA.String()), string(info.Path))
}

// DeletePath makes a path invalid. It returns an [*Error] if another valid path refers to it.
func (c *Conn) DeletePath(path storepath.Path) error {
	return c.Exec("delete from ValidPaths where path = ?", string(path))
}

// SetSignatures replaces the signatures of a valid path.
func (c *Conn) SetSignatures(path storepath.Path, signatures []string) error {
	return c.Exec("update ValidPaths set sigs = ? where path = ?", orNull(JoinSignatures(signatures)), string(path))
}

// SetHash replaces the hash and the size of the archive of a valid path.
func (c *Conn) SetHash(path storepath.Path, hash nixhash.Hash, size uint64) error {
	return c.Exec("update ValidPaths set hash = ?, narSize = ? where path = ?", hash.WithBase16(), sizeOrNull(size), string(path))
}

// JoinSignatures returns signatures in the form of the database: sorted, without duplicates, separated by spaces.
func JoinSignatures(signatures []string) string {
	return strings.Join(slices.Compact(slices.Sorted(slices.Values(signatures))), " ")
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func sizeOrNull(size uint64) any {
	if size == 0 {
		return nil
	}
	return int64(size)
}

func ultimateOrNull(ultimate bool) any {
	if !ultimate {
		return nil
	}
	return int64(1)
}
