case abc in x|a*) echo yes;; *) echo no;; esac
for i in 1 2 3; do [ $i = 2 ] && continue; echo $i; done
i=0; until [ $i -ge 3 ]; do i=$((i+1)); done; echo $i
f() { local y=1; echo "f $1 $#"; return 4; }; f a b; echo $?
echo {a,b} "${u-default}" "${u:=set}" ${#u}
eval 'echo $(echo evaled)'; set -- 1 2 3; shift; echo "$@"
y=abc.tar; echo ${y%.*} ${y#*.}
