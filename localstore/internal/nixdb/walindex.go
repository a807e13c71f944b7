package nixdb

import (
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"pix/localstore/internal/regular"
)

// A walIndex is the beginning of SQLite's index of the write-ahead log, the file with -shm after
// the database's name, in memory.
//
// The system has a trap here. The locks of SQLite belong to the process and the file, and when
// the process closes any descriptor of that file, all its locks are gone:
// another process then takes itself for the only one, and truncates the index under us. So a
// file that was opened here stays open as long as the process has a connection to the database.
// See "How To Corrupt An SQLite Database File", 2.2, in SQLite's documentation.
type walIndex struct {
	file   *os.File
	header []byte
}

// An openDB is a database that this process has open, by one connection or more.
type openDB struct {
	place   dbPlace
	users   int
	indexes []walIndex // more than one if the database was deleted and made again
}

// A dbPlace is where a database is, however it is called: one directory may have several names.
type dbPlace struct {
	device, inode uint64 // of the directory
	name          string // in it
}

func placeOf(database string) dbPlace {
	place := dbPlace{name: filepath.Base(database)}
	var stat unix.Stat_t
	if unix.Stat(filepath.Dir(database), &stat) == nil { // else there is nothing to be opened
		place.device, place.inode = uint64(stat.Dev), uint64(stat.Ino)
	}
	return place
}

var openDBs = struct {
	sync.Mutex
	at map[dbPlace]*openDB
}{at: make(map[dbPlace]*openDB)}

// joinOpenDB is for one more connection to a database, before it is opened. Leave when it
// is closed.
func joinOpenDB(database string) *openDB {
	openDBs.Lock()
	defer openDBs.Unlock()
	place := placeOf(database)
	o := openDBs.at[place]
	if o == nil {
		o = &openDB{place: place}
		openDBs.at[place] = o
	}
	o.users++
	return o
}

// leave is for a connection that was closed.
func (o *openDB) leave() {
	openDBs.Lock()
	defer openDBs.Unlock()
	if o.users--; o.users > 0 {
		return
	}
	delete(openDBs.at, o.place)
	for _, i := range o.indexes {
		unix.Munmap(i.header)
		i.file.Close()
	}
}

// openWALIndex returns the first bytes of the index of a database, as they are now and will be,
// until the last connection is closed; nil if it cannot be had.
func openWALIndex(database string, size int) []byte {
	openDBs.Lock()
	defer openDBs.Unlock()
	o := openDBs.at[placeOf(database)]
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
