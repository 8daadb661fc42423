;; Declares a million reads, all there in its memory. The host must refuse the description and name the limit on reads,
;; or stop lifting it before.
(func $describe (param $settings i32) (param $settings-length i32) (result i32)
  (call $described
    (call $new (i32.mul (i32.const 1000000) (global.get $read:size)))
    (i32.const 1000000)
    (global.get $reach=referenced)))
