(cd /; umask 077; pwd; umask; x=1; exit 3); echo $? $x; umask
echo "$(cd /; pwd; exit 4)" $?
f() { (return 5); echo $?; }; f
echo 1 2 | { read a b; echo "$b$a"; }; echo "[$a]"
