# Element and value (two columns) -> a gnuplot script that draws them into a periodic table. Variables: title, picture (SVG).
BEGIN {
    FS = "\t"
    table = "H . . . . . . . . . . . . . . . . He;Li Be . . . . . . . . . . B C N O F Ne;Na Mg . . . . . . . . . . Al Si P S Cl Ar;" \
        "K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr;Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe;" \
        "Cs Ba La Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn;Fr Ra Ac Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og;;" \
        ". . . Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu;. . . Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr"
}
{ value[$1] = $2 }
END {
    print "set terminal svg size 1000,560 dynamic font 'sans,12' background rgb 'white'\nset output '" picture "'"
    print "$with << EOD"
    periods = split(table, period, ";")
    for (y = 1; y <= periods; y++) {
        groups = split(period[y], symbol, " ")
        for (x = 1; x <= groups; x++) {
            if (symbol[x] == ".") continue
            if (symbol[x] in value) print x, -y, value[symbol[x]], symbol[x]
            else others = others x " " (-y) " " symbol[x] "\n"
        }
    }
    print "EOD\n$without << EOD\n" others "EOD"
    print "unset tics; unset border; unset key; set xrange [0.4:18.6]; set yrange [-10.6:-0.4]"
    print "set title '" title "'; set cblabel 'meV'; set colorbox; set cbtics"
    print "set palette defined (0 '#ffffcc', 0.5 '#fd8d3c', 1 '#b10026'); set cbrange [0:*]; set style fill solid border lc rgb '#808080'"
    print "plot $without using 1:2:(.46):(.46) with boxxyerror fc rgb '#f4f4f4', \\"
    print "  '' using 1:2:3 with labels tc rgb '#a0a0a0' font ',10', \\"
    print "  $with using 1:2:(.46):(.46):3 with boxxyerror fc palette, \\"
    print "  '' using 1:($2+.16):4 with labels font ',13', \\"
    print "  '' using 1:($2-.2):(sprintf('%.2f', $3)) with labels font ',9'"
}
