package nixdb

import (
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"pix/localstore/internal/regular"
)

// A walIndex is the beginning of SQLite's index of the write-ahead log, mapped into memory. The index is the file with
// the suffix -shm.
//
// On POSIX systems the locks of SQLite belong to the process and the file. When the process closes any descriptor of
// the file, it loses all its locks. Another process could then take itself for the only user of the database, and
// truncate the index that this process uses. So a file that was opened here stays open as long as the process has a
// connection to the database. See "How To Corrupt An SQLite Database File", 2.2, in SQLite's documentation.
type walIndex struct {
	file   *os.File
	header []byte
}

// An openDB is a database to which this process has connections.
type openDB struct {
	id      dbID
	users   int
	indexes []walIndex // more than one if the database was deleted and created again
}

// A dbID identifies a database independently of its name: one directory may have several names.
type dbID struct {
	device, inode uint64 // of the directory
	name          string // of the file
}

func idOf(database string) dbID {
	id := dbID{name: filepath.Base(database)}
	var stat unix.Stat_t
	if unix.Stat(filepath.Dir(database), &stat) == nil { // otherwise opening it will fail
		id.device, id.inode = uint64(stat.Dev), uint64(stat.Ino)
	}
	return id
}

var openDBs = struct {
	sync.Mutex
	byID map[dbID]*openDB
}{byID: make(map[dbID]*openDB)}

// joinOpenDB registers a connection to a database before it is opened. The caller calls leave after it has closed the
// connection.
func joinOpenDB(database string) *openDB {
	openDBs.Lock()
	defer openDBs.Unlock()
	id := idOf(database)
	o := openDBs.byID[id]
	if o == nil {
		o = &openDB{id: id}
		openDBs.byID[id] = o
	}
	o.users++
	return o
}

// leave removes a closed connection. The last one closes the files.
func (o *openDB) leave() {
	openDBs.Lock()
	defer openDBs.Unlock()
	if o.users--; o.users > 0 {
		return
	}
	delete(openDBs.byID, o.id)
	for _, i := range o.indexes {
		unix.Munmap(i.header)
		i.file.Close()
	}
}

// openWALIndex returns the first bytes of the shared index of a database, or nil if the index is not available. They
// show later changes, until the last connection is closed.
func openWALIndex(database string, size int) []byte {
	openDBs.Lock()
	defer openDBs.Unlock()
	o := openDBs.byID[idOf(database)]
	if o == nil {
		return nil
	}
	named, err := os.Stat(database + "-shm")
	if err != nil {
		return nil
	}
	for _, i := range o.indexes {
		if info, err := i.file.Stat(); err == nil && os.SameFile(info, named) {
			return i.header
		}
	}
	f, err := regular.Open(database+"-shm", os.O_RDONLY)
	if err != nil {
		return nil
	}
	i := walIndex{file: f}
	if info, err := f.Stat(); err == nil && info.Size() >= int64(size) {
		i.header, _ = unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	}
	o.indexes = append(o.indexes, i)
	return i.header
}
