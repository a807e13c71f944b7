package protocol

import (
	"fmt"
	"io"

	"pix/wire"
)

// An Op is the number of an operation.
type Op uint64

// The operations of Nix, numbered as on the wire. Numbers that are missing were removed from Nix, except
// 48, which is QueryActiveBuilds in Determinate Nix. Nix has reserved 48 to 50.
const (
	IsValidPath                 Op = 1
	QueryReferrers              Op = 6
	AddToStore                  Op = 7
	AddTextToStore              Op = 8
	BuildPaths                  Op = 9
	EnsurePath                  Op = 10
	AddTempRoot                 Op = 11
	AddIndirectRoot             Op = 12
	SyncWithGC                  Op = 13
	FindRoots                   Op = 14
	QueryDeriver                Op = 18
	SetOptions                  Op = 19
	CollectGarbage              Op = 20
	QuerySubstitutablePathInfo  Op = 21
	QueryDerivationOutputs      Op = 22
	QueryAllValidPaths          Op = 23
	QueryPathInfo               Op = 26
	QueryDerivationOutputNames  Op = 28
	QueryPathFromHashPart       Op = 29
	QuerySubstitutablePathInfos Op = 30
	QueryValidPaths             Op = 31
	QuerySubstitutablePaths     Op = 32
	QueryValidDerivers          Op = 33
	OptimiseStore               Op = 34
	VerifyStore                 Op = 35
	BuildDerivation             Op = 36
	AddSignatures               Op = 37
	NarFromPath                 Op = 38
	AddToStoreNar               Op = 39
	QueryMissing                Op = 40
	QueryDerivationOutputMap    Op = 41
	RegisterDrvOutput           Op = 42
	QueryRealisation            Op = 43
	AddMultipleToStore          Op = 44
	AddBuildLog                 Op = 45
	BuildPathsWithResults       Op = 46
	AddPermRoot                 Op = 47

	// These two are of Determinate Nix.
	AddTempRoots   Op = 49
	QueryPathInfos Op = 50

	// These two are known only to the daemon that a build can talk to.
	SubmitOutput       Op = 1000
	AddToStoreScanning Op = 1001
)

// A Body is what follows a request.
type Body uint8

// What may follow.
const (
	NoBody     Body = iota
	FramedBody      // frames, after the daemon has begun to work
	NARBody         // an archive as it is, before the daemon begins to work
	// AskedBody is strings, each in answer to a [MessageRead], which says how long it
	// may be at most. An empty one makes the daemon fail.
	AskedBody
)

func (b Body) String() string {
	switch b {
	case NoBody:
		return "no body"
	case FramedBody:
		return "frames"
	case NARBody:
		return "an archive"
	case AskedBody:
		return "strings when asked"
	}
	return fmt.Sprintf("Body(%d)", uint8(b))
}

// Access says who may ask for an operation.
type Access uint8

// Who may ask. See [Params.NeedsTrust].
const (
	Everybody     Access = iota
	TrustedInPart        // some requests are for trusted users only
	TrustedOnly
)

func (a Access) String() string {
	switch a {
	case Everybody:
		return "everybody"
	case TrustedInPart:
		return "trusted in part"
	case TrustedOnly:
		return "trusted only"
	}
	return fmt.Sprintf("Access(%d)", uint8(a))
}

// An Operation is a row of the table: all that is known of an operation but its fields.
type Operation struct {
	Op      Op
	Name    string
	Since   Version  // the version from which every daemon has it
	Feature Features // what must have been negotiated
	Without Features // what must not have been negotiated
	Access  Access
	// Query says that a daemon answers from its own database, at once and without
	// waiting for anything, so that queries can be pipelined: see [IsQuery].
	Query bool
	// Body says what follows the request.
	Body func(Params) Body
	// Archive says that an archive, as it is, follows the reply.
	Archive bool

	request func() Request
	reply   func() Reply
}

// The versions below are from 1.18 on those of Nix's own client. Two are later, since no
// daemon that is in use speaks the versions between: that of the realisations, which had
// other forms before 1.31, and that of AddBuildLog, which Nix 2.4 and 2.5 do not know
// though they speak 1.32 like 2.6.
var (
	outputMapVersion   = MakeVersion(22)
	realisationVersion = MakeVersion(31)
	multipleVersion    = MakeVersion(32)
	buildLogVersion    = MakeVersion(33)
	resultsVersion     = MakeVersion(34)
	permRootVersion    = MakeVersion(36)
)

// table has one row for each operation.
var table = complete([]Operation{
	{Op: IsValidPath, Name: "IsValidPath", Query: true,
		request: request[IsValidPathRequest], reply: reply[IsValidPathReply]},
	{Op: QueryReferrers, Name: "QueryReferrers", Query: true,
		request: request[QueryReferrersRequest], reply: reply[PathsReply]},
	{Op: AddToStore, Name: "AddToStore", Body: addBody,
		request: request[AddToStoreRequest], reply: reply[AddToStoreReply]},
	{Op: AddTextToStore, Name: "AddTextToStore",
		request: request[AddTextToStoreRequest], reply: reply[PathReply]},
	{Op: BuildPaths, Name: "BuildPaths", Access: TrustedInPart,
		request: request[BuildPathsRequest], reply: reply[Ack]},
	{Op: EnsurePath, Name: "EnsurePath",
		request: request[EnsurePathRequest], reply: reply[Ack]},
	{Op: AddTempRoot, Name: "AddTempRoot",
		request: request[AddTempRootRequest], reply: reply[Ack]},
	{Op: AddIndirectRoot, Name: "AddIndirectRoot",
		request: request[AddIndirectRootRequest], reply: reply[Ack]},
	{Op: SyncWithGC, Name: "SyncWithGC",
		request: request[SyncWithGCRequest], reply: reply[Ack]},
	{Op: FindRoots, Name: "FindRoots",
		request: request[FindRootsRequest], reply: reply[FindRootsReply]},
	{Op: QueryDeriver, Name: "QueryDeriver", Query: true,
		request: request[QueryDeriverRequest], reply: reply[OptionalPathReply]},
	{Op: SetOptions, Name: "SetOptions", Without: NoSetOptions,
		request: request[SetOptionsRequest], reply: reply[None]},
	{Op: CollectGarbage, Name: "CollectGarbage",
		request: request[CollectGarbageRequest], reply: reply[CollectGarbageReply]},
	{Op: QuerySubstitutablePathInfo, Name: "QuerySubstitutablePathInfo",
		request: request[QuerySubstitutablePathInfoRequest], reply: reply[QuerySubstitutablePathInfoReply]},
	{Op: QueryDerivationOutputs, Name: "QueryDerivationOutputs",
		request: request[QueryDerivationOutputsRequest], reply: reply[PathsReply]},
	{Op: QueryAllValidPaths, Name: "QueryAllValidPaths",
		request: request[QueryAllValidPathsRequest], reply: reply[PathsReply]},
	{Op: QueryPathInfo, Name: "QueryPathInfo", Query: true,
		request: request[QueryPathInfoRequest], reply: reply[QueryPathInfoReply]},
	{Op: QueryDerivationOutputNames, Name: "QueryDerivationOutputNames",
		request: request[QueryDerivationOutputNamesRequest], reply: reply[QueryDerivationOutputNamesReply]},
	{Op: QueryPathFromHashPart, Name: "QueryPathFromHashPart", Query: true,
		request: request[QueryPathFromHashPartRequest], reply: reply[OptionalPathReply]},
	{Op: QuerySubstitutablePathInfos, Name: "QuerySubstitutablePathInfos",
		request: request[QuerySubstitutablePathInfosRequest], reply: reply[QuerySubstitutablePathInfosReply]},
	{Op: QueryValidPaths, Name: "QueryValidPaths", Query: true,
		request: request[QueryValidPathsRequest], reply: reply[PathsReply]},
	{Op: QuerySubstitutablePaths, Name: "QuerySubstitutablePaths",
		request: request[QuerySubstitutablePathsRequest], reply: reply[PathsReply]},
	{Op: QueryValidDerivers, Name: "QueryValidDerivers", Query: true,
		request: request[QueryValidDeriversRequest], reply: reply[PathsReply]},
	{Op: OptimiseStore, Name: "OptimiseStore",
		request: request[OptimiseStoreRequest], reply: reply[Ack]},
	{Op: VerifyStore, Name: "VerifyStore", Access: TrustedInPart,
		request: request[VerifyStoreRequest], reply: reply[VerifyStoreReply]},
	{Op: BuildDerivation, Name: "BuildDerivation", Access: TrustedInPart,
		request: request[BuildDerivationRequest], reply: reply[BuildDerivationReply]},
	{Op: AddSignatures, Name: "AddSignatures", Access: TrustedInPart,
		request: request[AddSignaturesRequest], reply: reply[Ack]},
	{Op: NarFromPath, Name: "NarFromPath", Archive: true,
		request: request[NarFromPathRequest], reply: reply[None]},
	{Op: AddToStoreNar, Name: "AddToStoreNar", Body: addNARBody,
		request: request[AddToStoreNarRequest], reply: reply[None]},
	{Op: QueryMissing, Name: "QueryMissing", Since: MakeVersion(19),
		request: request[QueryMissingRequest], reply: reply[QueryMissingReply]},
	{Op: QueryDerivationOutputMap, Name: "QueryDerivationOutputMap", Since: outputMapVersion, Query: true,
		request: request[QueryDerivationOutputMapRequest], reply: reply[QueryDerivationOutputMapReply]},
	{Op: RegisterDrvOutput, Name: "RegisterDrvOutput", Since: realisationVersion,
		request: request[RegisterDrvOutputRequest], reply: reply[None]},
	{Op: QueryRealisation, Name: "QueryRealisation", Since: realisationVersion, Query: true,
		request: request[QueryRealisationRequest], reply: reply[QueryRealisationReply]},
	{Op: AddMultipleToStore, Name: "AddMultipleToStore", Since: multipleVersion, Body: framed,
		request: request[AddMultipleToStoreRequest], reply: reply[None]},
	{Op: AddBuildLog, Name: "AddBuildLog", Since: buildLogVersion, Access: TrustedOnly, Body: framed,
		request: request[AddBuildLogRequest], reply: reply[Ack]},
	{Op: BuildPathsWithResults, Name: "BuildPathsWithResults", Since: resultsVersion, Access: TrustedInPart,
		request: request[BuildPathsWithResultsRequest], reply: reply[BuildPathsWithResultsReply]},
	{Op: AddPermRoot, Name: "AddPermRoot", Since: permRootVersion, Access: TrustedOnly,
		request: request[AddPermRootRequest], reply: reply[AddPermRootReply]},
	{Op: AddTempRoots, Name: "AddTempRoots", Since: featureVersion, Feature: TempRoots,
		request: request[AddTempRootsRequest], reply: reply[Ack]},
	{Op: QueryPathInfos, Name: "QueryPathInfos", Since: featureVersion, Feature: PathInfos, Query: true,
		request: request[QueryPathInfosRequest], reply: reply[QueryPathInfosReply]},
	{Op: SubmitOutput, Name: "SubmitOutput", Since: featureVersion, Feature: OutputSubmission,
		request: request[SubmitOutputRequest], reply: reply[Ack]},
	{Op: AddToStoreScanning, Name: "AddToStoreScanning", Since: featureVersion, Feature: Scanning, Body: framed,
		request: request[AddToStoreScanningRequest], reply: reply[AddToStoreReply]},
})

// request and reply make empty values of the types that the table names.
func request[T any, P interface {
	*T
	Request
}]() Request {
	return P(new(T))
}

func reply[T any, P interface {
	*T
	Reply
}]() Reply {
	return P(new(T))
}

// complete fills in what most rows have.
func complete(rows []Operation) []Operation {
	for i := range rows {
		if rows[i].Since == 0 {
			rows[i].Since = MinVersion
		}
		if rows[i].Body == nil {
			rows[i].Body = func(Params) Body { return NoBody }
		}
	}
	return rows
}

func framed(Params) Body { return FramedBody }

func addBody(p Params) Body {
	if p.Version >= framedAdd {
		return FramedBody
	}
	return NARBody
}

func addNARBody(p Params) Body {
	switch {
	case p.Version >= MakeVersion(23):
		return FramedBody
	case p.Version >= MakeVersion(21):
		return AskedBody
	}
	return NARBody
}

// Operations returns the table, in the order of the numbers.
func Operations() []Operation { return append([]Operation(nil), table...) }

// Lookup returns the row of an operation; ok is false for an unknown one.
func Lookup(op Op) (row Operation, ok bool) {
	if r := rowOf(op); r != nil {
		return *r, true
	}
	return Operation{}, false
}

// rows has the row of each operation.
var rows = make(map[Op]*Operation, len(table))

func init() {
	for i := range table {
		rows[table[i].Op] = &table[i]
	}
}

func rowOf(op Op) *Operation { return rows[op] }

// String returns the name that Nix has for the operation.
func (op Op) String() string {
	if row := rowOf(op); row != nil {
		return row.Name
	}
	return fmt.Sprintf("Op(%d)", uint64(op))
}

// Check returns an [*UnsupportedError] unless the other side knows the operation.
func (p Params) Check(op Op) error {
	row := rowOf(op)
	switch {
	case row == nil:
		return &UnsupportedError{What: "operation " + op.String(), Have: p.Version}
	case p.Version < row.Since:
		return &UnsupportedError{What: "operation " + row.Name, Have: p.Version, Since: row.Since}
	case !p.Features.Has(row.Feature):
		return &UnsupportedError{What: "operation " + row.Name, Have: p.Version, Feature: row.Feature &^ p.Features}
	case p.Features&row.Without != 0:
		return &UnsupportedError{What: "operation " + row.Name + " during a build", Have: p.Version}
	}
	return nil
}

// IsQuery reports whether the request is one of a [Operation.Query], and not a
// [QueryValidPathsRequest] that substitutes, which may take as long as a download.
func IsQuery(r Request) bool {
	if q, ok := r.(*QueryValidPathsRequest); ok && q.Substitute {
		return false
	}
	row := rowOf(r.Op())
	return row != nil && row.Query
}

// NeedsTrust reports whether a daemon certainly refuses the request of a user that it does
// not trust. Some daemons read what follows such a request as the next operation, so it
// is better not sent.
//
// Other requests are not refused but restricted: a user that is not trusted cannot set
// what [SetOptionsRequest] would change but for a few settings, has signatures checked
// whatever [AddToStoreNarRequest] says, and sees "{censored}" in place of roots.
func (p Params) NeedsTrust(r Request) bool {
	if t, ok := r.(interface{ needsTrust(Params) bool }); ok {
		return t.needsTrust(p)
	}
	row := rowOf(r.Op())
	return row != nil && row.Access == TrustedOnly
}

// A Request is what a client asks: a pointer to one of the structs named …Request.
type Request interface {
	Op() Op
	code(*codec)
}

// A Reply is what a daemon answers when the work is done: a pointer to one of the structs
// named …Reply, to an [Ack] or a [None].
type Reply interface {
	code(*codec)
}

// AppendRequest appends the number of the operation and its request. The error is an
// [*UnsupportedError] if the other side does not know the operation or a field that is
// set, an [*Error] if a value is not valid; nothing is appended then.
func (p Params) AppendRequest(dst []byte, r Request) ([]byte, error) {
	if err := p.Check(r.Op()); err != nil {
		return dst, err
	}
	c := codec{Params: p, out: wire.AppendUint64(dst, uint64(r.Op())), op: r.Op(), part: "request"}
	r.code(&c)
	if c.err != nil {
		return dst, c.err
	}
	return c.out, nil
}

// ReadRequest reads the number of an operation and its request. At the end of the stream
// the error is io.EOF; for an operation that is unknown or was not negotiated it is an
// [*UnsupportedError], and what follows in the stream cannot be known.
func (p Params) ReadRequest(r *wire.Reader) (Request, error) {
	at := r.Offset()
	n, err := r.Uint64()
	if err == io.EOF {
		return nil, io.EOF
	}
	c := codec{Params: p, in: r, part: "operation"}
	if c.fail("number", at, err); c.err != nil {
		return nil, c.err
	}
	if err := p.Check(Op(n)); err != nil {
		return nil, err
	}
	c.op, c.part = Op(n), "request"
	req := rowOf(c.op).request()
	req.code(&c)
	return req, c.err
}

// NewReply returns an empty reply to the operation, or nil if it is unknown.
func NewReply(op Op) Reply {
	if row := rowOf(op); row != nil {
		return row.reply()
	}
	return nil
}

// AppendReply appends a reply to the operation. The error is an [*Error] if a value is not
// valid; nothing is appended then.
func (p Params) AppendReply(dst []byte, op Op, r Reply) ([]byte, error) {
	c := codec{Params: p, out: dst, op: op, part: "reply"}
	r.code(&c)
	if c.err != nil {
		return dst, c.err
	}
	return c.out, nil
}

// ReadReply reads a reply to the operation into r. The error is an [*Error].
func (p Params) ReadReply(in *wire.Reader, op Op, r Reply) error {
	c := codec{Params: p, in: in, op: op, part: "reply"}
	r.code(&c)
	return c.err
}
